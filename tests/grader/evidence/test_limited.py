"""Readers of hostile files run in a process with limits: what is too long, too large or too much is one sentence."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from grader.evidence.limited import LimitedError, run_limited

POSIX = pytest.mark.skipif(os.name != "posix", reason="the system has no limits of a process")


def run(folder: Path, code: str, *arguments: str, most: int = 100, **limits: Any) -> bytes:
    script, file = folder / "reader.py", folder / "file"
    script.write_text(f"import os, sys, time\n{code}")
    file.write_bytes(b"handed in")
    with file.open("rb") as opened:
        return run_limited(script, list(arguments), opened, most, **limits)


def test_the_reader_gets_file_and_arguments_and_nothing_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "labels")
    code = "print(sys.stdin.read(), sys.argv[1:], os.environ.get('SECRET'))"
    assert run(tmp_path, code, "a", "b").split() == b"handed in ['a', 'b'] None".split()


def test_a_reader_that_answers_too_much_or_not_at_all_is_one_sentence(tmp_path: Path) -> None:
    assert run(tmp_path, "print('x' * 99, end='')") == b"x" * 99
    with pytest.raises(LimitedError, match="has more than 100 bytes"):
        run(tmp_path, "while True: print('x' * 1000)")
    with pytest.raises(LimitedError, match="its reader broke off"):
        run(tmp_path, "os._exit(3)")
    with pytest.raises(LimitedError, match="took too long to read"):
        run(tmp_path, "time.sleep(60)", seconds=0.3)


@POSIX
def test_memory_processor_time_and_files_are_limited(tmp_path: Path) -> None:
    with pytest.raises(LimitedError, match="for want of memory"):
        run(tmp_path, "bytearray(1 << 31)")
    with pytest.raises(LimitedError, match="took too long to read"):
        run(tmp_path, "while True: pass", cpu_seconds=1)
    written = tmp_path / "written"
    written.touch()
    with pytest.raises(LimitedError, match="broke off"):
        run(tmp_path, f"os.write(os.open({str(written)!r}, os.O_WRONLY), b'x')")
    assert not written.read_bytes()


LEAVES_ONE = """
child = os.fork()
if not child:
    os.close(1)
    time.sleep(60)
print(child)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_what_the_reader_started_ends_with_it(tmp_path: Path) -> None:
    try:
        child = int(run(tmp_path, LEAVES_ONE))
    except LimitedError:  # none but root may start one at all
        assert os.geteuid()
    else:
        assert not _runs(child)


def _runs(child: int) -> bool:
    for _ in range(50):
        try:
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.02)
    return True
