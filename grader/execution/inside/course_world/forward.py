"""Forward passes: which net was called, on whose images, in which mode; each net is described at its first call.

Documentation: `torch.nn.modules.module.register_module_forward_hook`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from course_world.alike import computed_once
from course_world.augmentation import describe_batch
from course_world.loaders import loaders
from course_world.nets import Net, is_net, nets, record_net, unwrapped
from course_world.operations import Watch
from course_world.recorder import harmless, recorder


@dataclass
class Called:
    """The net that was called last, and how."""

    net: int | None = None
    training: bool = False
    images: int = 1
    split: str | None = None
    loader: int | None = None


@dataclass
class Calls:
    """The call that runs now: how deep it is nested, and what watches it."""

    depth: int = 0
    watch: Watch | None = None
    last: Called = field(default_factory=Called)
    inputs_seen: set[tuple[int, str | None, int | None]] = field(default_factory=set)

    def forget(self) -> None:
        """An interrupt may have left a call without its end."""
        self.depth = 0
        self.stop_watching()

    def stop_watching(self) -> Watch | None:
        """Leave the watch that was entered at the beginning of a first call."""
        watch, self.watch = self.watch, None
        if watch is not None:
            watch.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        return watch


calls = Calls()


def _before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    if recorder.active:
        calls.depth += 1
        if calls.depth == 1:
            _begin(module)


@harmless
def _begin(module: nn.Module) -> None:
    if torch._C._get_tracing_state() is not None or not is_net(module):
        return
    net = nets.add(module)
    if not net.described:
        nets.keep_copy(net)
        watch = Watch()
        watch.__enter__()  # type: ignore[no-untyped-call]
        calls.watch = watch


def _after(module: nn.Module, inputs: tuple[Any, ...], *rest: Any) -> None:
    """`rest` is what was given by name and the output; after an exception torch hands over None alone."""
    if recorder.active:
        calls.depth = max(0, calls.depth - 1)
        if calls.depth == 0:
            named, output = rest if len(rest) == 2 else ({}, None)
            _end(module, inputs[0] if inputs else next(iter(named.values()), None), output)


@harmless
def _end(module: nn.Module, images: Any, output: Any) -> None:
    watch = calls.stop_watching()
    net = nets.get(module)
    if net is None or output is None or torch._C._get_tracing_state() is not None:
        return
    if watch is not None and not net.described:
        record_net(net, unwrapped(module), watch, images, output, "called")
    _note(net.number, module, images)


@harmless
def _note(number: int, module: nn.Module, images: Any) -> None:
    this = loaders.of(images, number)
    last = calls.last
    last.net, last.training = number, module.training
    last.images = len(images) if isinstance(images, torch.Tensor) and images.dim() else 1
    last.split, last.loader = (None, None) if this is None else (this.split, this.loader)
    if this is not None:
        this.nets = tuple(dict.fromkeys((*this.nets, number)))
        this.training, this.grad = module.training, torch.is_grad_enabled()
    key = number, last.split, last.loader
    if isinstance(images, torch.Tensor) and key not in calls.inputs_seen:
        calls.inputs_seen.add(key)
        _record_input(number, images)


def _record_input(number: int, images: torch.Tensor) -> None:
    pixels = images.detach().float()
    by_channel = pixels.dim() == 4 and pixels.numel() > 1
    recorder.emit(
        "input",
        net=number,
        split=calls.last.split,
        loader=calls.last.loader,
        shape=list(images.shape),
        dtype=str(images.dtype).removeprefix("torch."),
        mean=[round(float(m), 4) for m in pixels.mean(dim=(0, 2, 3))] if by_channel else None,
        std=[round(float(s), 4) for s in pixels.std(dim=(0, 2, 3))] if by_channel else None,
        low=round(float(pixels.min()), 4) if pixels.numel() else None,
        high=round(float(pixels.max()), 4) if pixels.numel() else None,
        steps=nets.by_number[number].steps,
        device=images.device.type,
        seen=None if calls.last.split is None else describe_batch(images),
    )


def _of_test(module: nn.Module, images: Any) -> Net | None:
    """The net that is called, where it was called before, is in eval mode and is given a batch of the test split."""
    this = loaders.current or loaders.last
    if this is None or this.split != "test" or not isinstance(images, torch.Tensor) or images.dim() != 4:
        return None
    net = nets.get(module)
    if net is None or not net.described or any(part.training for part in module.modules()):
        return None
    return None if loaders.of(images, net.number) is None else net


def _shorten_test_passes() -> None:
    """Stand before every call from outside another module: a test split of few images has few to be computed."""
    original = nn.Module.__call__

    @functools.wraps(original)
    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if calls.depth or len(args) != 1 or kwargs or not recorder.active:
            return original(self, *args, **kwargs)
        net = _of_test(self, args[0])
        if net is not None:
            calls.depth += 1  # no call of its own to the hooks
            try:
                output = computed_once(functools.partial(original, self), args[0])
            finally:
                calls.depth -= 1
            if output is not None:
                _note(net.number, self, args[0])
                return output
        return original(self, *args)

    nn.Module.__call__ = call  # type: ignore[method-assign]


def install() -> None:
    """Watch every module that is called from outside another one."""
    register_module_forward_pre_hook(_before)
    register_module_forward_hook(_after, with_kwargs=True, always_call=True)
    _shorten_test_passes()
