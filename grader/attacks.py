"""The hostile suite: does every attack hold, and does honest work that others harm score in full?

Each attack is graded in a process of this program's own, beside an honest submission; that process is watched from
here, since an attack may hang or end it.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Queue
from typing import Any

from fixtures.hostile import Attack, all_attacks
from fixtures.hostile.plant import VARIABLE, secret
from fixtures.hostile.trial import MOST_SECONDS, Outcome, Setting, prepare, run_attack
from grader.execution.sandbox.tiers import choose

START_SECONDS = 180.0  # a process that grades imports torch, starts its kernels' server and grades the plain notebooks
USAGE_ERROR = 2
SHOWN = 76  # characters of what happened in the table


@dataclass(frozen=True)
class Result:
    """An attack and what came of it; `skipped` says why it was not run."""

    attack: Attack
    outcome: Outcome
    skipped: str = ""

    @property
    def held(self) -> bool:
        """Whether it was run and got nowhere."""
        return not self.skipped and not self.outcome.broken


# -- processes that grade --------------------------------------------------------------------------------------------


def _serve(connection: Connection) -> None:
    """The process that grades: takes a function's name and arguments, sends back what it returns."""
    named: dict[str, Callable[..., Any]] = {"prepare": prepare, "attack": _run_named}
    with contextlib.suppress(EOFError):  # whoever asked is gone
        while True:
            name, arguments = connection.recv()
            try:
                connection.send(named[name](*arguments))
            except Exception as error:  # noqa: BLE001  (of the harness; it must not end the suite)
                connection.send(error)


def _run_named(name: str, setting: Setting) -> Outcome:
    """Attacks hold functions, which cannot be sent to another process; names can."""
    return run_attack(all_attacks()[name], setting)


class Grader:
    """A process that grades, started again when an attack has ended it."""

    def __init__(self) -> None:
        self._process: Any = None

    def ask(self, task: str, *arguments: object, seconds: float) -> Any:
        """What the process answers. Raises TimeoutError where it takes longer, EOFError where it has ended."""
        if self._process is None or not self._process.is_alive():
            self._start()
        try:
            self._connection.send((task, arguments))
            if not self._connection.poll(seconds):
                raise TimeoutError(f"no answer within {seconds:.0f} s")
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            self.stop()
            raise error if isinstance(error, TimeoutError) else EOFError("the process that grades has ended") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=False)
        self._process.start()
        theirs.close()

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._connection.close()
            self._process.kill()
            self._process.join()
            self._process = None


# -- many attacks ----------------------------------------------------------------------------------------------------


def why_skipped(attack: Attack, tier: str) -> str:
    """Attacks that would harm the machine are run only where something isolates them."""
    return "it harms a machine that nothing isolates it from" if attack.destructive and tier == "none" else ""


def run_attacks(attacks: Sequence[Attack], jobs: int, isolation: str) -> Iterator[Result]:
    """Results as they come, `jobs` at a time; `isolation` is a tier's name or `auto`."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ[VARIABLE] = secret()  # in the environment of every process that grades
    graders: Queue[Grader] = Queue()
    started = [Grader() for _ in range(jobs)]
    with tempfile.TemporaryDirectory(prefix="attacks-") as folder, ThreadPoolExecutor(jobs) as pool:
        try:
            setting = started[0].ask("prepare", Path(folder), isolation, seconds=START_SECONDS)
            for grader in started:
                graders.put(grader)
            waiting = [pool.submit(_one, attack, setting, graders) for attack in attacks]
            for done in as_completed(waiting):
                yield done.result()
        finally:
            for grader in started:
                grader.stop()
            os.environ.pop(VARIABLE, None)


def _one(attack: Attack, setting: Setting, graders: Queue[Grader]) -> Result:
    if skipped := why_skipped(attack, setting.tier):
        return Result(attack, Outcome(), skipped)
    grader, began = graders.get(), time.monotonic()
    try:
        outcome = grader.ask("attack", attack.name, setting, seconds=4 * MOST_SECONDS)
    except Exception as error:  # noqa: BLE001  (whatever ends a grading ends this attack's alone)
        outcome = Outcome(broken=(f"{type(error).__name__}: {error}",), seconds=time.monotonic() - began)
    finally:
        graders.put(grader)
    return Result(attack, outcome)


# -- in words --------------------------------------------------------------------------------------------------------


def table(results: Sequence[Result]) -> list[str]:
    """One line an attack: its name, held or not, seconds, and what happened."""
    width = max((len(result.attack.name) for result in results), default=0)
    return [f"{r.attack.name:<{width}}  {_mark(r):<8} {r.outcome.seconds:5.1f} s  {_short(r)}" for r in results]


def _mark(result: Result) -> str:
    if result.skipped:
        return "skipped"
    return "held" if result.held else "NOT HELD"


def _short(result: Result) -> str:
    text = result.skipped or "; ".join(result.outcome.broken) or " / ".join(result.outcome.happened.splitlines())
    return textwrap.shorten(text, SHOWN, placeholder=" …") if result.held or result.skipped else text[: 4 * SHOWN]


def explain(result: Result) -> list[str]:
    """Everything known of one attack."""
    head = f"{result.attack.name}: {result.attack.what} (the grader grew by {result.outcome.grown / 1e6:.0f} MB)"
    lines = [head, *(f"  ! {reason}" for reason in result.outcome.broken)]
    return lines + [f"    {line[:300]}" for line in result.outcome.happened.splitlines()[:40]]


def summary(results: Sequence[Result]) -> dict[str, int]:
    """Attacks that were run and those that held; honest cases are none."""
    attacks = [result for result in results if not result.attack.honest and not result.skipped]
    return {"attacks": len(attacks), "held": sum(result.held for result in attacks)}


def chosen(pattern: str) -> list[Attack]:
    """The attacks and honest cases whose names match."""
    return [attack for attack in all_attacks().values() if re.search(pattern, attack.name)]


def main(attacks: Sequence[Attack], jobs: int, isolation: str, verbose: bool) -> int:
    """Run the attacks, print the table and what did not hold; 0 where all held and honest work scored in full."""
    try:
        print(f"isolation: {choose(isolation).describe()}", flush=True)
    except LookupError as error:
        print(error, file=sys.stderr)
        return USAGE_ERROR
    began, results = time.perf_counter(), list[Result]()
    for result in run_attacks(attacks, jobs, isolation):
        results.append(result)
        print(f"{_mark(result):<8} {result.attack.name} ({result.outcome.seconds:.1f} s)", flush=True)
    results.sort(key=lambda result: attacks.index(result.attack))
    print("", *table(results), "", sep="\n")
    for result in results:
        if verbose or not (result.held or result.skipped):
            print(*explain(result), sep="\n")
    honest = [result for result in results if result.attack.honest]
    print(f"{sum(r.held for r in honest)} of {len(honest)} honest cases score in full")
    print(f"{len(results)} cases in {time.perf_counter() - began:.0f} s")
    counts = summary(results)
    print(json.dumps(counts))
    return 0 if all(result.held or result.skipped for result in results) else 1
