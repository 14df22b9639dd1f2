"""Packages that notebooks import out of habit and the labs do not need: an absent one costs no points."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from unittest.mock import MagicMock

OPTIONAL = ("google", "tensorflow", "tensorboard", "torchsummary", "torchinfo", "seaborn", "sklearn", "wandb", "cv2")


class StandIn:
    """Finds optional packages that are not installed and lets every name in them exist and do nothing."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in OPTIONAL:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = MagicMock(name=spec.name)
        module.__name__, module.__spec__, module.__path__ = spec.name, spec, []
        return module

    def exec_module(self, module: ModuleType) -> None:
        """A stand-in has nothing to execute."""


def install() -> None:
    """Ask the stand-in last, after everything that is really installed."""
    sys.meta_path.append(StandIn())
