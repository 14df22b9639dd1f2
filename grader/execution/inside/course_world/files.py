"""Paths of the student's machine: what lies outside the working folder is kept inside it, missing folders are made.

`/content/drive/…` and `C:/…` do not exist here, and nothing outside the working folder is to be written.
"""

from __future__ import annotations

import builtins
import errno
import functools
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from IPython.core import interactiveshell

ELSEWHERE = "elsewhere"  # the folder below the working folder that stands for the rest of the file system
WRITING = frozenset("wax+")


class Paths:
    """Where a path of the student's leads."""

    def __init__(self) -> None:
        self.home = Path.cwd()
        exchange = Path(os.environ.get("COURSE_WORLD_TRACE", os.devnull)).parent  # the grader's own replies
        kept = (self.home, exchange, Path(tempfile.gettempdir()), Path.home(), Path("/dev"), Path("/proc"))
        self._writable = tuple(str(path) for path in kept)

    def for_writing(self, path: Any) -> Any:
        """The path itself where it may be written, else its place below `elsewhere`; its folder is made."""
        if not isinstance(path, (str, os.PathLike)):
            return path
        text = os.fspath(path)
        if not isinstance(text, str):
            return path
        if os.path.isabs(text) and not self._inside(text):
            text = self._elsewhere(text)
        return text

    def for_reading(self, path: Any) -> Any:
        """The path itself where something is there, else its place below `elsewhere` where something is there."""
        if not isinstance(path, (str, os.PathLike)):
            return path
        text = os.fspath(path)
        if not isinstance(text, str) or not os.path.isabs(text) or self._inside(text) or _exists(text):
            return path
        other = self._elsewhere(text)
        return other if _exists(other) else path

    def _inside(self, text: str) -> bool:
        text = os.path.normpath(text)
        return any(text == root or text.startswith(root + os.sep) for root in self._writable)

    def _elsewhere(self, text: str) -> str:
        return str(self.home / ELSEWHERE / os.path.normpath(text).lstrip(os.sep))


_stat, _mkdir = os.stat, os.mkdir


def _exists(path: str) -> bool:
    try:
        _stat(path)
    except (OSError, ValueError):
        return False
    return True


def _make_folder_of(path: Any) -> None:
    """The folder that a file is to be written into, with all above it."""
    folder = os.path.dirname(path) if isinstance(path, str) else ""
    if folder and not _exists(folder):
        _make_folder_of(folder)
        try:
            _mkdir(folder)
        except OSError as error:
            if error.errno != errno.EEXIST:
                return


def _opening(paths: Paths, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def open_here(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not isinstance(mode, str) or WRITING.isdisjoint(mode):
            return original(paths.for_reading(file), mode, *args, **kwargs)
        target = paths.for_writing(file)
        if "r" not in mode:
            _make_folder_of(target)
        return original(target, mode, *args, **kwargs)

    return open_here


def _reading(paths: Paths, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def read_here(path: Any = ".", *args: Any, **kwargs: Any) -> Any:
        return original(paths.for_reading(path), *args, **kwargs)

    return read_here


def _writing(paths: Paths, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def write_here(path: Any, *args: Any, **kwargs: Any) -> Any:
        target = paths.for_writing(path)
        _make_folder_of(target)
        return original(target, *args, **kwargs)

    return write_here


def _entering(paths: Paths, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def enter(path: Any) -> None:
        target = paths.for_reading(path)
        # A folder of the student's machine holds what lies here already.
        if not isinstance(target, (str, os.PathLike)) or not os.path.isabs(target) or _exists(os.fspath(target)):
            original(target)

    return enter


def install() -> None:
    """Replace the functions through which notebooks, pandas, matplotlib and torch reach files."""
    paths = Paths()
    builtins.open = _opening(paths, builtins.open)
    io.open = _opening(paths, io.open)
    interactiveshell.io_open = io.open  # type: ignore[attr-defined]  # serves cells that call open()
    for name in ("stat", "listdir", "scandir", "remove", "unlink"):
        setattr(os, name, _reading(paths, getattr(os, name)))
    os.mkdir = _writing(paths, os.mkdir)
    os.chdir = _entering(paths, os.chdir)
    np.loadtxt, np.genfromtxt = _reading(paths, np.loadtxt), _reading(paths, np.genfromtxt)
    np.savetxt = _writing(paths, np.savetxt)
    save = torch.save

    @functools.wraps(save)
    def save_here(value: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        target = paths.for_writing(f)
        _make_folder_of(target)
        save(value, target, *args, **kwargs)

    torch.save = save_here  # type: ignore[assignment]
    torch.load = _reading(paths, torch.load)
