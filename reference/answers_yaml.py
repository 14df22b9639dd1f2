"""answers.yaml: the ten true/false answers in the form students hand them in, filled in or blank.

    python -m reference.answers_yaml

writes the reference's answers beside its notebooks.
"""

import textwrap
from collections.abc import Iterable
from pathlib import Path

from reference.part1 import Answer, answers

SOLUTION = Path(__file__).parent / "notebooks" / "answers.yaml"

HEAD = """\
# Part 1: true or false? For each statement a verdict, true or false, and a short explanation that supports it.
# Text of several lines goes after "explanation: >-", each line indented by four spaces.
"""


def _filled(text: str, indent: str) -> str:
    """The words of ``text`` in lines of at most 116 characters."""
    return textwrap.fill(
        " ".join(text.split()), 116, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def blank_yaml(entries: Iterable[Answer]) -> str:
    """The file students receive: each statement as a comment over an empty verdict and explanation."""
    blocks = (
        f"\n{_filled(answer.statement, '# ')}\n{answer.item}:\n  verdict:\n  explanation:\n" for answer in entries
    )
    return HEAD + "".join(blocks)


def solution_yaml(entries: Iterable[Answer]) -> str:
    """The same file with the reference's answers, an explanation being one paragraph."""
    blocks = (
        f"\n{_filled(answer.statement, '# ')}\n{answer.item}:\n"
        f"  verdict: {str(answer.verdict).lower()}\n  explanation: >-\n{_filled(answer.explanation, '    ')}\n"
        for answer in entries
    )
    return HEAD + "".join(blocks)


if __name__ == "__main__":
    SOLUTION.write_text(solution_yaml(answers().values()), encoding="utf-8", newline="\n")
