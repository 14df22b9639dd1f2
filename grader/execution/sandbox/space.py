"""A folder that a student's kernel writes to, reached from outside by a descriptor that nothing in it can redirect."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from grader.execution.untrusted import UntrustedFileError, read_opened, read_untrusted

# Windows knows neither flag, and no descriptors of folders.
DIRECTORY, NOFOLLOW = getattr(os, "O_DIRECTORY", 0), getattr(os, "O_NOFOLLOW", 0)
FOLDER = os.O_RDONLY | DIRECTORY | NOFOLLOW
MAX_DEPTH, MAX_ENTRIES = 12, 20_000


class Space:
    """Reads and writes below one folder; links, pipes and devices in it are refused, whoever put them there.

    `path` is the folder's name for the kernel. Every path is walked one name at a time without following links, as
    openat2's RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS do. The descriptor outlives the kernel and its mounts.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self.path = path

    @classmethod
    def at(cls, folder: Path) -> Space:
        """A space that is an ordinary folder of this machine."""
        if os.open not in os.supports_dir_fd:
            return PlainSpace(folder)
        return cls(os.open(folder, os.O_RDONLY | DIRECTORY), str(folder))

    def close(self) -> None:
        """Let go of the folder."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def open(self, path: str) -> Space:
        """A folder of it, by the kernel's name. Raises UntrustedFileError."""
        name = str(PurePosixPath(path).relative_to(self.path))
        with self._folder(name) as folder:
            return Space(os.dup(folder), path)

    def read(self, name: str, limit: int, *, start: int = 0, whole: bool = True) -> bytes:
        """At most `limit` bytes of a regular file; see `read_untrusted`. Raises UntrustedFileError."""
        with self._parent(name) as (folder, last):
            return read_opened(last, limit, start=start, whole=whole, folder=folder)

    def make(self, name: str) -> Space:
        """A new folder that the kernel may write to. Raises UntrustedFileError where the name is taken."""
        with self._parent(name) as (folder, last), _told(name):
            os.mkdir(last, 0o777, dir_fd=folder)
            made = os.open(last, FOLDER, dir_fd=folder)
            os.fchmod(made, 0o1777)  # whatever the umask; what the grader puts there stays
            return Space(made, f"{self.path}/{name}")

    def write(self, name: str, content: bytes) -> None:
        """Write a new file that the kernel may read. Raises UntrustedFileError where the name is taken, or no room."""
        with self._parent(name) as (folder, last), _told(name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW
            with open(os.open(last, flags, 0o644, dir_fd=folder), "wb") as file:
                file.write(content)

    def pull(self, target: Path, suffixes: tuple[str, ...], room: int) -> None:
        """Copy regular files with one of `suffixes` to the folder `target`, `room` bytes of them at most.

        Files that stand there are replaced; a link that stands there is neither followed nor replaced.
        """
        for name, size in self._files():
            if size > room or PurePosixPath(name).suffix.lower() not in suffixes:
                continue
            with contextlib.suppress(UntrustedFileError, OSError):
                content = self.read(name, size)
                into = target / name
                if not _passes_a_link(target, into):
                    into.parent.mkdir(parents=True, exist_ok=True)
                    into.unlink(missing_ok=True)
                    into.write_bytes(content)
                    room -= len(content)

    def _files(self) -> list[tuple[str, int]]:
        """Names and sizes of regular files, in order of their names."""
        found: list[tuple[str, int]] = []
        seen = 0
        waiting = [("", 0)]
        while waiting:
            name, depth = waiting.pop()
            with contextlib.suppress(UntrustedFileError, OSError), self._folder(name) as folder:
                for entry in os.listdir(folder):
                    seen += 1
                    if seen > MAX_ENTRIES:
                        return sorted(found)
                    status = os.stat(entry, dir_fd=folder, follow_symlinks=False)
                    path = f"{name}/{entry}" if name else entry
                    if stat.S_ISDIR(status.st_mode) and depth < MAX_DEPTH:
                        waiting.append((path, depth + 1))
                    elif stat.S_ISREG(status.st_mode):
                        found.append((path, status.st_size))
        return sorted(found)

    @contextlib.contextmanager
    def _parent(self, name: str) -> Iterator[tuple[int, str]]:
        path = PurePosixPath(name)
        with self._folder(str(path.parent)) as folder:
            yield folder, path.name

    @contextlib.contextmanager
    def _folder(self, name: str) -> Iterator[int]:
        """A descriptor of the folder `name`, reached without a link."""
        opened = os.dup(self._descriptor)
        try:
            for part in PurePosixPath(name).parts:
                if part in ("..", "/"):
                    raise UntrustedFileError(f"{name} leads out of its folder")
                with _told(name):
                    inner = os.open(part, FOLDER, dir_fd=opened)
                os.close(opened)
                opened = inner
            yield opened
        finally:
            os.close(opened)


class PlainSpace(Space):
    """The same by path, where the system has no descriptors of folders; there is no sandbox there either."""

    def __init__(self, folder: Path) -> None:
        super().__init__(-1, str(folder))
        self._at = folder

    def read(self, name: str, limit: int, *, start: int = 0, whole: bool = True) -> bytes:
        return read_untrusted(self._at / name, limit, start=start, whole=whole)

    def make(self, name: str) -> Space:
        with _told(name):
            (self._at / name).mkdir()
        return PlainSpace(self._at / name)

    def write(self, name: str, content: bytes) -> None:
        with _told(name), (self._at / name).open("xb") as file:
            file.write(content)


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UntrustedFileError(f"{PurePosixPath(name).name} is missing") from None
    except OSError as error:
        raise UntrustedFileError(f"{PurePosixPath(name).name}: {error.strerror or error}") from None


def _passes_a_link(top: Path, path: Path) -> bool:
    steps = [path, *path.parents]
    return any(step.is_symlink() for step in steps[: steps.index(top)])
