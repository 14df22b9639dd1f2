"""Reading files that a student's kernel could have put there: regular files only, a bounded number of bytes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

# Windows has neither links that anybody makes nor pipes in folders.
FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class UntrustedFileError(Exception):
    """The file is missing, too large, or no regular file; the message says which."""


def read_untrusted(path: Path, limit: int, *, start: int = 0, whole: bool = True) -> bytes:
    """At most `limit` bytes of `path` from byte `start` on.

    A link is not followed and a pipe is not waited for. With `whole`, a file with more than `limit` bytes after `start`
    is refused rather than cut. Raises UntrustedFileError.
    """
    return read_opened(path, limit, start=start, whole=whole)


def read_opened(path: Path | str, limit: int, *, start: int, whole: bool, folder: int | None = None) -> bytes:
    """The same for a name in an opened `folder`, a file descriptor."""
    name = Path(path).name
    try:
        with open(os.open(path, FLAGS, dir_fd=folder), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UntrustedFileError(f"{name} is not a regular file")
            file.seek(start)
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise UntrustedFileError(f"{name} is missing") from None
    except OSError as error:
        raise UntrustedFileError(f"{name} cannot be read: {error.strerror or error}") from None
    if len(data) > limit and whole:
        raise UntrustedFileError(f"{name} has more than {limit:,} bytes")
    return data[:limit]
