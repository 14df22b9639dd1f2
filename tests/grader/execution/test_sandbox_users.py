"""The same kernels for an ordinary user, where the tests themselves run as root."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
ORDINARY = 12_345  # a uid that belongs to nobody
PASSED_BY_EVERY_TIER = " or ".join(
    ("reached", "privileges", "calls", "bounded", "frozen", "told", "private", "plots", "moved", "ending")
)


def _closed_to_others(path: Path) -> Path | None:
    """The uppermost folder on the way to `path` that only its owner may enter."""
    return next((p for p in reversed([path, *path.parents]) if p.is_dir() and not p.stat().st_mode & 0o001), None)


def opened_up(needed: list[Path], hold: Path) -> list[str]:
    """Shell lines that let others reach `needed` in a mount namespace, whatever folder of root's they lie in."""
    closed = {path: top for path in needed if (top := _closed_to_others(path)) is not None}
    lines = ["set -e", "mount --make-rprivate /"]
    for number, path in enumerate(closed):
        lines += [f"mkdir -p {hold}/{number}", f"mount --bind {shlex.quote(str(path))} {hold}/{number}"]
    for top in dict.fromkeys(closed.values()):
        lines.append(f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(top))}")
    for number, path in enumerate(closed):
        there = shlex.quote(str(path))
        lines += [f"mkdir -p {there}", f"mount --bind {hold}/{number} {there}"]
    return lines


@pytest.mark.skipif(os.getuid() != 0, reason="these tests run as an ordinary user already")
@pytest.mark.skipif(shutil.which("unshare") is None or shutil.which("setpriv") is None, reason="no util-linux here")
def test_an_ordinary_user_s_kernels_are_kept_apart_too(tmp_path: Path) -> None:
    hold, home = Path("/tmp") / f"hold-{os.getpid()}", Path("/tmp") / f"home-{os.getpid()}"
    home.mkdir()
    os.chown(home, ORDINARY, ORDINARY)
    tests = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--basetemp", str(home / "tests")]
    tests += ["-k", PASSED_BY_EVERY_TIER, "tests/grader/execution/test_sandbox_kernels.py"]
    user = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
    environment = ["env", "-i", "PATH=/usr/bin:/bin", f"HOME={home}", "PYTHONDONTWRITEBYTECODE=1", "OMP_NUM_THREADS=1"]
    needed = [ROOT, *{Path(sys.prefix), Path(sys.base_prefix)}]
    script = "\n".join([*opened_up(needed, hold), f"cd {ROOT}", f"exec {shlex.join([*user, *environment, *tests])}"])
    try:
        done = subprocess.run(["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, timeout=600)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(hold, ignore_errors=True)
    if "Permission denied" in done.stderr and "mount" in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr[:200]}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
