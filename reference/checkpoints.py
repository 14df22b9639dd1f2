"""Checkpoints that survive a kill: written beside the target first, then moved over it in one step.

The best checkpoint is the course's dictionary {"state_dict", "epoch", "lr"}.
"""

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """Write `state` to `path` such that a reader finds the old file or the new one, never a part of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    torch.save(state, part)
    os.replace(part, path)


def save_best(net: nn.Module, path: Path, *, epoch: int, lr: float) -> None:
    """Save the course's checkpoint: parameters and buffers, epoch (from 0) and learning rate that led to them."""
    save_atomically({"state_dict": net.state_dict(), "epoch": epoch, "lr": lr}, path)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU. Raises ValueError, naming the file, where it cannot be read as one."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: expected a checkpoint written by torch.save, found {describe(path)}") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path}: expected a checkpoint with a dictionary, found {type(state).__name__}")
    return state


def describe(path: Path) -> str:
    return f"a file of {path.stat().st_size} bytes that is none" if path.is_file() else "no such file"


def load_best(net: nn.Module, path: Path) -> int:
    """Load the course's checkpoint into `net` and return its epoch. Raises ValueError where it does not fit `net`."""
    state = load(path)
    missing = {"state_dict", "epoch", "lr"} - state.keys()
    if missing:
        raise ValueError(f"{path}: expected the keys state_dict, epoch and lr, missing {', '.join(sorted(missing))}")
    try:
        net.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        raise ValueError(f"{path}: expected the weights of a {type(net).__name__}, found others ({error})") from error
    return int(state["epoch"])
