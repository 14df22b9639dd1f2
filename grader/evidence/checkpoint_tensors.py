"""Find the numbers of a state dictionary in a checkpoint; a script, run by `limited.py` in a process of its own.

    checkpoint_tensors.py MAX_BYTES < best.pth

On standard output stands one line of JSON, {"refused": "why"} or {"problems": {key: what its tensor is or lacks}}, and
behind the latter the other tensors in safetensors' format. torch, whose import takes a second, is not needed: in the
pickle a few names stand for where numbers lie, and all others for nothing, so that nothing in it is run.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

MAX_PICKLE = 1_000_000  # bytes; ResNet-20's takes 31,000 with the state of Adam
MOST_MEMBERS = 5_000  # files in the archive: one a tensor
MOST_KEYS = 4_000  # of a state dictionary
MOST_NUMBERS = 4_000_000  # of a state dictionary; ResNet-20 has 272,474 and a few statistics
KEY = 200  # characters
PREFIXES = ("module.", "_orig_mod.")  # DataParallel's and torch.compile's
# torch's name of a type of storage -> safetensors' name of the type, bytes of one number
TYPES = {
    "FloatStorage": ("F32", 4),
    "DoubleStorage": ("F64", 8),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
}
DAMAGED = "is damaged"


class RefusedError(Exception):
    """Why the file is not read."""


@dataclass(frozen=True)
class Stored:
    """A tensor as the pickle describes it: nothing of it is checked. `problem` says why it has no plain numbers."""

    storage: Any = None
    start: Any = 0
    shape: Any = ()
    strides: Any = ()
    problem: str = ""


class Nothing:
    """What every other name in the pickle stands for: it takes whatever it is given and does nothing."""

    def __new__(cls, *arguments: Any, **named: Any) -> Nothing:
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    append = extend = add = __setstate__


def _plain(storage: Any, start: Any, shape: Any, strides: Any, *_: Any) -> Stored:
    return Stored(storage, start, shape, strides)


def _given(value: Any, *_: Any) -> Any:
    """A parameter is its tensor."""
    return value


def _with_attributes(function: Any, _: Any, arguments: Any, *__: Any) -> Any:
    """A tensor with attributes of its own is the tensor."""
    return _plain(*arguments) if function is _plain else Nothing()


def _problem(what: str) -> Any:
    return lambda *_: Stored(problem=what)


NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _plain,
    ("torch._utils", "_rebuild_tensor_v3"): _problem("holds numbers of a type that is none of float64, 32 and 16"),
    ("torch._utils", "_rebuild_parameter"): _given,
    ("torch._utils", "_rebuild_parameter_with_state"): _given,
    ("torch._tensor", "_rebuild_from_type_v2"): _with_attributes,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _problem("has no data (a tensor on the device 'meta')"),
    ("torch._utils", "_rebuild_sparse_tensor"): _problem("is a sparse tensor"),
    ("torch._utils", "_rebuild_qtensor"): _problem("is quantised"),
}


class _Reader(pickle.Unpickler):
    """Finds no function or class but those above."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name.endswith("Storage"):
            return name
        other = _problem("is no plain tensor") if module == "torch._utils" and name.startswith("_rebuild") else Nothing
        return NAMES.get((module, name), other)

    def persistent_load(self, described: Any) -> Any:
        """A storage: its type and the name of its file in the archive."""
        _, kind, name, *_ = described
        return kind, name


# -- the file --------------------------------------------------------------------------------------------------------


def main() -> None:
    """Read the checkpoint on standard input."""
    try:
        problems, parts = _read(sys.stdin.buffer, int(sys.argv[1]))
    except RefusedError as error:
        _write({"refused": str(error)})
    except MemoryError:
        _write({"refused": "it needs too much memory to read"})
    except Exception as error:  # noqa: BLE001  (a hostile or broken file may raise anything)
        _write({"refused": f"it cannot be read as a state dictionary ({type(error).__name__})"})
    else:
        _write({"problems": problems}, *parts)


def _write(head: dict[str, Any], *parts: bytes) -> None:
    sys.stdout.buffer.writelines([json.dumps(head).encode(), b"\n", *parts])


def _read(file: BinaryIO, max_bytes: int) -> tuple[dict[str, str], list[bytes]]:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > MOST_MEMBERS:
            raise RefusedError(f"it holds {len(entries):,} files, expected at most {MOST_MEMBERS:,}")
        if sum(entry.file_size for entry in entries) > max_bytes:
            raise RefusedError(f"it unpacks to more than {max_bytes / 1e6:g} MB")
        pickles = [entry for entry in entries if entry.filename.partition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise RefusedError("it is not what torch.save writes: it has no single data.pkl")
        if pickles[0].file_size > MAX_PICKLE:
            size = pickles[0].file_size / 1e6
            raise RefusedError(f"its data.pkl has {size:.1f} MB, expected at most {MAX_PICKLE / 1e6:g} MB")
        numbers = Numbers(archive, pickles[0].filename.partition("/")[0])
        with archive.open(pickles[0]) as pickled:
            state = _state_in(_Reader(io.BytesIO(pickled.read(MAX_PICKLE))).load())
        return _collect(state, numbers)


def _state_in(loaded: Any, depth: int = 3) -> dict[Any, Stored]:
    """The first dictionary of more than one tensor, in `loaded` or in dictionaries inside it."""
    if not isinstance(loaded, Mapping) or not depth:
        return {}
    tensors = {key: value for key, value in loaded.items() if isinstance(value, Stored)}
    if len(tensors) > 1:
        return tensors
    return next((state for value in loaded.values() if (state := _state_in(value, depth - 1))), {})


def _collect(state: dict[Any, Stored], numbers: Numbers) -> tuple[dict[str, str], list[bytes]]:
    """What is wrong with which tensor, and a safetensors file of the others."""
    if not state:
        raise RefusedError("it holds no state dictionary, as torch.save(net.state_dict(), ...) writes")
    if len(state) > MOST_KEYS:
        raise RefusedError(f"its state dictionary has {len(state):,} entries, expected at most {MOST_KEYS:,}")
    problems, header, parts, end = dict[str, str](), dict[str, Any](), list[bytes](), 0
    for key, stored in state.items():
        if not isinstance(key, str) or len(key) > KEY or not key.isprintable() or key == "__metadata__":
            continue  # no name of a weight
        try:
            kind, shape, part = numbers.of(stored)
        except ValueError as error:
            problems[_without_prefix(key)] = str(error)
            continue
        header[_without_prefix(key)] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + len(part)]}
        parts.append(part)
        end += len(part)
    head = json.dumps(header).encode()
    return problems, [len(head).to_bytes(8, "little"), head, *parts]


def _without_prefix(key: str) -> str:
    while key.startswith(PREFIXES):
        key = key.partition(".")[2]
    return key


# -- numbers ---------------------------------------------------------------------------------------------------------


class Numbers:
    """The numbers of the tensors in an archive, each of whose files is read once."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        self._archive, self._root, self._left = archive, root, MOST_NUMBERS
        self._read: dict[str, bytes] = {}
        if f"{root}/byteorder" in archive.namelist() and archive.read(f"{root}/byteorder")[:6] != b"little":
            raise RefusedError("it was written by a machine with another order of bytes")

    def of(self, stored: Stored) -> tuple[str, list[int], bytes]:
        """Type, shape and numbers of a tensor, in order of its dimensions. Raises ValueError, which says what it is."""
        if stored.problem:
            raise ValueError(stored.problem)
        kind, name = self._named(stored.storage)
        letters, size = TYPES[kind]
        shape, strides = _whole(stored.shape), _whole(stored.strides)
        (start,) = _whole((stored.start,))
        if len(shape) != len(strides) or len(shape) > 8:
            raise ValueError(DAMAGED)
        count = math.prod(shape)
        if count > MOST_NUMBERS:
            raise ValueError(f"shows {count:,} numbers")
        self._left -= count
        if self._left < 0:
            raise RefusedError(f"its state dictionary has more than {MOST_NUMBERS:,} numbers")
        data = self._file(name)
        last = start + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        if count and (last + 1) * size > len(data):
            raise ValueError("reaches beyond its data")
        return letters, list(shape), _gather(data, size, start, shape, strides) if count else b""

    def _named(self, storage: Any) -> tuple[str, str]:
        if not isinstance(storage, tuple) or not all(isinstance(part, str) for part in storage):
            raise ValueError(DAMAGED)
        kind, name = storage
        if kind not in TYPES:
            what = kind.removesuffix("Storage")[:40].lower()
            raise ValueError(f"holds numbers of type {what}" if what.isalnum() else DAMAGED)
        return kind, name

    def _file(self, name: str) -> bytes:
        if name not in self._read:
            try:
                self._read[name] = self._archive.read(f"{self._root}/data/{name}")
            except KeyError:
                raise ValueError("has no data in the file") from None
        return self._read[name]


def _whole(values: Any) -> tuple[int, ...]:
    """Whole numbers from 0 on that a machine can count with. Raises ValueError."""
    whole = isinstance(values, tuple) and all(type(value) is int and 0 <= value < 1 << 50 for value in values)
    if not whole:
        raise ValueError(DAMAGED)
    return tuple(values)


def _gather(data: bytes, size: int, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """The numbers of a tensor, each of `size` bytes, in order of its dimensions, however they lie."""
    count = math.prod(shape)
    below = 1
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n > 1 and stride != below:
            break
        below *= n
    else:
        return data[start * size : (start + count) * size]
    places = [start]
    for n, stride in zip(shape, strides, strict=True):
        places = [place + k * stride for place in places for k in range(n)]
    return b"".join(data[place * size : (place + 1) * size] for place in places)


if __name__ == "__main__":
    main()
