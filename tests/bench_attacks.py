"""Attacks on nbgrader and on this grader, side by side: what each of them let through.

Nothing that a notebook says is believed: fresh secrets, sockets and files are planted for every attack on either side,
and looked at from outside (`fixtures.hostile.plant`). This grader meets each attack beside an honest submission that it
must not disturb. Points are 10 for a right net and 0 for a wrong one with nbgrader; here, those of the same notebook
without the attack.
"""

from __future__ import annotations

import os
import re
import tempfile
import textwrap
from pathlib import Path

from fixtures.hostile.plant import VARIABLE, secret
from fixtures.hostile.trial import Outcome, prepare, run_attack
from grader.execution.sandbox.tiers import choose
from tests.bench_anchors import VERSION, install_nbgrader
from tests.bench_attack_cases import CASES, Case, Verdict
from tests.bench_attack_nbgrader import through_nbgrader

TIER = "fork"
WIDTH = 66  # of a column


def through_grader(folder: Path) -> dict[str, Verdict]:
    """Every case through this grader, beside an honest submission."""
    setting = prepare(folder, TIER)
    verdicts = {}
    for case in CASES:
        try:
            outcome = run_attack(case.attack, setting)
        except Exception as error:  # noqa: BLE001  (a grader that stumbles over an attack has not held)
            outcome = Outcome(broken=(f"{type(error).__name__}: {error}",))
        verdicts[case.name] = of_outcome(case, outcome)
        print(f"this grader: {case.label} ({verdicts[case.name].seconds:.0f} s)", flush=True)
    return verdicts


def of_outcome(case: Case, outcome: Outcome) -> Verdict:
    """In a few words: how the attack's cells ended, else the first that was refused."""
    said = re.findall(r"^cell \d+ (?!ok)\w+: (.*)|refused: ([^:\n]*)", outcome.happened, re.MULTILINE)
    happened = "".join(said[0]) if said else ""
    if case.for_points:
        happened = "all points" if case.honest else "no point gained"
    return Verdict(happened, outcome.broken, outcome.seconds)


def table(theirs: dict[str, Verdict], ours: dict[str, Verdict]) -> list[str]:
    """A line a case: what happened with nbgrader, and what with this grader."""
    head = f"{'attack':<32}{f'nbgrader {VERSION}':<{WIDTH}}this grader, tier {TIER}"
    rows = [
        f"{case.label:<32}{words(case, theirs[case.name]):<{WIDTH}}{words(case, ours[case.name])}" for case in CASES
    ]
    return [head, "-" * len(head), *rows]


def words(case: Case, verdict: Verdict) -> str:
    """What happened, in one cell of the table."""
    said = "; ".join(verdict.broken) or verdict.happened
    mark = ("fair" if verdict.held else "HARMED") if case.honest else ("held" if verdict.held else "NOT HELD")
    text = ": ".join(part for part in ("" if verdict.skipped else mark, said) if part)
    return textwrap.shorten(text, WIDTH - 2, placeholder=" …")


def bench_attacks(n: int) -> dict[str, object]:
    """The table, and how many of the cases each grader held; every case is run once, whatever `n`."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ[VARIABLE] = secret()  # before anything starts that a kernel comes from
    try:
        choose(TIER)
    except LookupError as error:
        raise SystemExit(str(error)) from None
    install_nbgrader()
    with tempfile.TemporaryDirectory(prefix="attack-table-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        (folder / "course").mkdir()
        (folder / "grader").mkdir()
        ours, theirs = through_grader(folder / "grader"), through_nbgrader(folder / "course")
    print("", *table(theirs, ours), "", sep="\n")
    honest = [case.name for case in CASES if case.honest]
    attacks = [case.name for case in CASES if not case.honest]
    return {
        "cases": len(CASES),
        "attacks": len(attacks),
        "nbgrader_held": sum(theirs[name].held for name in attacks),
        "grader_held": sum(ours[name].held for name in attacks),
        "honest": len(honest),
        "nbgrader_honest_in_full": sum(theirs[name].held for name in honest),
        "grader_honest_in_full": sum(ours[name].held for name in honest),
        "nbgrader_points": {case.name: theirs[case.name].points for case in CASES if case.for_points},
        "nbgrader_user": "its own" if os.getuid() == 0 else "the caller's",
        "tier": TIER,
        "n": 1,
    }
