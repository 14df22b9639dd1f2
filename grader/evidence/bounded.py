"""Read a file that a student handed in: a regular file, of bounded size, whatever stands at its path.

Anything else (a folder, a link, a FIFO, a device, a file of a gigabyte) is refused before a byte of it is read.
"""

import os
import re
import stat
from pathlib import Path

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
PREVIEW = 40  # characters of a hostile cell or name that a message may repeat


class UnreadableFileError(Exception):
    """Why the file cannot be read: one sentence that begins with its name."""


def preview(text: str, limit: int = PREVIEW) -> str:
    """`text` on one line for a message: runs of white space collapsed, unprintable characters as ?, cut at `limit`."""
    head = " ".join(text[: 4 * limit].split())
    shown = "".join(character if character.isprintable() else "?" for character in head)
    return shown if len(shown) <= limit and len(text) <= 4 * limit else shown[:limit] + "…"


def cleaned(text: str) -> str:
    """`text` without control characters (but for tab and line feed) and without halves of surrogate pairs.

    What is left can be written as UTF-8 and cannot command a terminal.
    """
    return _CONTROL.sub("", text)


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The whole content of a regular file of 1 to `max_bytes` bytes.

    Never follows a link at `path` itself, never waits for a FIFO, never reads more than `max_bytes` + 1 bytes.

    Raises:
        UnreadableFileError: missing, not a regular file, empty, too large, or refused by the system.
    """
    name = preview(path.name, 80)
    try:
        _refuse_irregular(name, path.lstat(), max_bytes)
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags), "rb") as stream:
            _refuse_irregular(name, os.fstat(stream.fileno()), max_bytes)  # it may have been swapped since
            content = stream.read(max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableFileError(f"{name}: there is no such file in the submission.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a valid file name"
        raise UnreadableFileError(f"{name}: the file cannot be read ({reason}).") from None
    if len(content) > max_bytes:
        raise UnreadableFileError(f"{name}: the file grew beyond {max_bytes:,} bytes while it was read.")
    if not content:
        raise UnreadableFileError(f"{name}: the file is empty.")
    return content


def _refuse_irregular(name: str, status: os.stat_result, max_bytes: int) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableFileError(f"{name}: expected a file, found a folder of that name.")
    if stat.S_ISLNK(status.st_mode):
        raise UnreadableFileError(f"{name}: expected a file, found a link; hand in the file itself.")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableFileError(f"{name}: expected a regular file, found a pipe, socket or device.")
    if status.st_size == 0:
        raise UnreadableFileError(f"{name}: the file is empty.")
    if status.st_size > max_bytes:
        raise UnreadableFileError(
            f"{name}: the file has {status.st_size:,} bytes, expected at most {max_bytes:,}; it was not read."
        )
