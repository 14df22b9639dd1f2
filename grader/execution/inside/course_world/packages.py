"""Modules in a student's kernel: habits that need not be installed, a stale `tools`, and what must stay outside."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

# Packages that notebooks import out of habit and the labs do not need: an absent one costs no points.
OPTIONAL = (
    *("google", "tensorflow", "keras", "tensorboard", "tensorboardX", "torchsummary", "torchinfo", "torchviz", "wandb"),
    *(
        "seaborn",
        "sklearn",
        "cv2",
        "ipywidgets",
        "thop",
        "ptflops",
        "fvcore",
        "prettytable",
        "plotly",
        "psutil",
        "gdown",
    ),
)
# The grader, the solution and the sample submissions are no business of a notebook's, where they are installed.
WITHHELD = ("grader", "reference", "fixtures")
Spec = importlib.machinery.ModuleSpec


class Absent:
    """Whatever a package that is not installed would give: any use of it gives another one, and it is empty."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Anything may be passed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Absent()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return Absent()

    __getitem__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __call__

    def __setitem__(self, key: Any, value: Any) -> None:
        """Nothing is kept."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __float__(self) -> float:
        return 0.0

    def __int__(self) -> int:
        return 0

    def __format__(self, spec: str) -> str:
        return ""

    def __enter__(self) -> Any:
        return Absent()

    def __exit__(self, *_error: Any) -> None:
        """An error inside is the student's."""

    def __instancecheck__(self, value: Any) -> bool:
        return False

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        return (Absent,)


class AbsentModule(ModuleType):
    """A module in which every name exists."""

    __version__ = "999.0.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Absent()


class StandIn:
    """Finds optional packages that are not installed and lets every name in them exist and do nothing."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> Spec | None:
        if fullname.partition(".")[0] not in OPTIONAL:
            return None
        return Spec(fullname, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: Spec) -> ModuleType:
        return AbsentModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """A stand-in has nothing to execute."""


class Withheld:
    """Finds the withheld packages nowhere but among the student's own files."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> Spec | None:
        if fullname not in WITHHELD:
            return None
        own = importlib.machinery.PathFinder.find_spec(fullname, [os.getcwd()])
        if own is None:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return own


class AfterImport:
    """Finds the modules that the small world adapts, and adapts them once they were imported as usual."""

    def __init__(self, adapters: dict[str, Callable[[Any], None]]) -> None:
        self._adapters = dict(adapters)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> Spec | None:
        adapt = self._adapters.pop(fullname, None)
        spec = importlib.util.find_spec(fullname) if adapt is not None else None
        if adapt is None or spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            adapt(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


class OwnDataset:
    """Finds a student's copy of the course's data set under any file name, and puts the small world's in its place.

    Copies break on today's NumPy or look for files that were never handed in; what else stands in them stays usable.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> Spec | None:
        file = Path.cwd().joinpath(*fullname.split(".")).with_suffix(".py")
        if not file.is_file() or not re.search(r"^class CIFAR10\b", file.read_text(errors="replace"), re.MULTILINE):
            return None
        spec = importlib.util.spec_from_file_location(fullname, file)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                try:
                    execute(module)
                except Exception:  # noqa: BLE001  (a stale copy may fail in any way)
                    module.__doc__ = "A copy of the course's data set that does not run here."
                module.CIFAR10 = importlib.import_module("tools.dataset").CIFAR10

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _plain_bars(notebook: Any) -> None:
    """`tqdm.notebook` without ipywidgets: bars of text."""
    plain = importlib.import_module("tqdm.std")
    notebook.tqdm = notebook.tqdm_notebook = plain.tqdm
    notebook.trange = notebook.tnrange = plain.trange


def _missing_folders(common: Any) -> None:
    """pandas refuses to write where there is no folder; here one is made."""
    common.check_parent_directory = lambda path: Path(path).parent.mkdir(parents=True, exist_ok=True)


def _small_cifar10(datasets: Any) -> None:
    """torchvision's CIFAR10, which the course asks not to use, over the small world's images: nothing is downloaded."""
    from course_world.images import CourseImages

    class CIFAR10(CourseImages):
        classes = tuple(map(str, range(10)))

        def __init__(
            self,
            root: Any = "./data",
            train: bool = True,
            transform: Any = None,
            target_transform: Any = None,
            download: bool = False,
        ) -> None:
            super().__init__("train" if train else "val", transform, target_transform)
            self.root, self.train = root, train
            self.class_to_idx = {name: label for label, name in enumerate(self.classes)}

    datasets.CIFAR10 = CIFAR10


ADAPTED: dict[str, Callable[[Any], None]] = {
    "tqdm.notebook": _plain_bars,
    "pandas.io.common": _missing_folders,
    "torchvision.datasets": _small_cifar10,
}


def install() -> None:
    """The student's files come last on the path, so that none of them stands in for a library of the same name."""
    tools = importlib.import_module("tools")
    importlib.import_module("tools.dataset")  # bound now: a stale copy in the working folder cannot shadow it
    tools.__path__.append(str(Path.cwd() / "tools"))
    sys.path.append(str(Path.cwd()))
    imported = {name for name in ADAPTED if name in sys.modules}  # in a copy of a process that has them
    for name in imported:
        ADAPTED[name](sys.modules[name])
    later = AfterImport({name: adapt for name, adapt in ADAPTED.items() if name not in imported})
    sys.meta_path[:0] = [Withheld(), later, OwnDataset()]
    sys.meta_path.append(StandIn())
