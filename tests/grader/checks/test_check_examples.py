"""Every check against its examples; a check without examples is a failure of its own."""

from __future__ import annotations

import examples_lab1
import examples_part1
import pytest
from running import CHECKS, Check, Example, outcome_of

EXAMPLES: dict[str, list[Example]] = examples_part1.EXAMPLES | examples_lab1.EXAMPLES
PAIRS = [
    pytest.param(CHECKS[name], example, id=f"{name}/{example.name}")
    for name, examples in EXAMPLES.items()
    for example in examples
]


@pytest.mark.parametrize(("check", "example"), PAIRS)
def test_example(check: Check, example: Example) -> None:
    outcome, credit, reason = outcome_of(check, example.make())
    assert (outcome, reason) == (example.outcome, reason if example.reason in reason else example.reason)
    assert credit == pytest.approx(example.credit, abs=1e-9)
    assert (outcome == "passed") == (reason == "")
