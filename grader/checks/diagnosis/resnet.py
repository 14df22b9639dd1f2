"""Where a net departs from ResNet-20: Section 4.2 of arXiv:1512.03385 with n = 3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from grader.checks.diagnosis.graph import (
    ACTIVATIONS,
    DROPOUTS,
    POOLINGS,
    Convolution,
    Departure,
    Graph,
    Step,
    UnsureError,
    called,
)
from grader.checks.diagnosis.shortcut import shortcut_departure
from grader.execution.trace_events import LayerRecord

STAGES, BLOCKS = (16, 32, 64), 3
STEM = "the first convolution"


class _Found(Exception):
    """The first departure."""

    def __init__(self, reason: str, credit: str) -> None:
        super().__init__(reason)
        self.departure = Departure(reason, credit)


@dataclass(frozen=True)
class Block:
    """A residual block by its place; `stride` is that of its first convolution and of its shortcut."""

    name: str
    channels: int
    stride: int


def departure(layers: Sequence[LayerRecord]) -> Departure | None:
    """The first departure from ResNet-20 in order of execution; None where there is none that is sure."""
    walk = _Walk(Graph(tuple(layers)))
    try:
        walk.whole()
    except _Found as found:
        return found.departure
    except UnsureError:
        return None
    return None


@dataclass(frozen=True)
class _Walk:
    """Goes through the operations from the images to the logits and raises _Found at the first departure."""

    graph: Graph

    def whole(self) -> None:
        first = self.graph.first()
        if first.type != "Conv2d":
            self._unlike(first, f"{called(first)} stands before {STEM}", "more_layers")
        self._convolution(first, STEM, Convolution(16, 3, 1, 1))
        place = self._bn_and_relu(first.last, STEM)
        place = self._no_pooling_in_stem(place)
        for stage, channels in enumerate(STAGES, start=1):
            for number in range(1, BLOCKS + 1):
                stride = 2 if stage > 1 and number == 1 else 1
                place = self._block(place, Block(f"stage {stage} block {number}", channels, stride))
        self._head(place)

    # -- parts of the net --------------------------------------------------------------------------------------------

    def _no_pooling_in_stem(self, place: int) -> int:
        behind = [self.graph.step(reader) for reader in self.graph.readers[place]]
        if len(behind) == 1 and behind[0].type in POOLINGS:
            reason = f"{called(behind[0])} behind {STEM}, as for ImageNet; none expected"
            raise _Found(reason, "pooling_in_stem")
        return place

    def _block(self, start: int, block: Block) -> int:
        """From the position whose output enters the block to the one that leaves it."""
        first = self._main_convolution(start, block)
        self._stride_in_second(first, block)
        self._convolution(first, f"{block.name} conv1", Convolution(block.channels, 3, block.stride, 1))
        place = self._bn_and_relu(first.last, f"{block.name} conv1")
        readers = self._main_readers(place)
        if len(readers) != 1:
            raise UnsureError
        second = readers[0]
        if second.type != "Conv2d":
            self._unlike(second, f"{block.name}: conv2 expected; found {called(second)}", "other_function")
        self._convolution(second, f"{block.name} conv2", Convolution(block.channels, 3, 1, 1))
        place = self._bn(second.last, f"{block.name} conv2")
        added = self._addition(place, start, block)
        return self._relu_behind_addition(added, block)

    def _stride_in_second(self, first: Step, block: Block) -> None:
        """Half the maps, but one convolution later than in the paper."""
        place = first.last
        for _ in range(3):  # BN, ReLU, and the second convolution
            readers = self._main_readers(place)
            if len(readers) != 1:
                return
            place = readers[0].last
        second = self.graph.layers[place]
        strides = [Convolution.of(record).stride for record in (first.record, second)]
        if block.stride == 2 and second.type == "Conv2d" and strides == [1, 2]:
            raise _Found(f"{block.name}: stride 2 expected in conv1; found in conv2", "other_order")

    def _main_convolution(self, start: int, block: Block) -> Step:
        """The convolution that a second one follows; the other reader of a block's input is its shortcut."""
        readers = [self.graph.step(reader) for reader in self.graph.readers[start]]
        convolutions = [step for step in readers if step.type == "Conv2d"]
        alone = convolutions if len(readers) == 1 else []
        main = alone or [step for step in convolutions if self._leads_to_convolution(step.last)]
        if len(main) == 1:
            return main[0]
        others = [step for step in readers if step.type != "Add"]
        if not convolutions and len(others) == 1:
            reason = f"{block.name}: a convolution expected first; found {called(others[0])}"
            credit = "other_in_train_mode" if others[0].type in DROPOUTS else "other_widths_or_depth"
            self._unlike(others[0], reason, credit)
        raise UnsureError

    def _leads_to_convolution(self, place: int) -> bool:
        for _ in range(4):
            readers = self.graph.readers[place]
            if len(readers) != 1:
                return False
            place = readers[0]
            if self.graph.layers[place].type == "Conv2d":
                return True
        return False

    def _addition(self, place: int, start: int, block: Block) -> int:
        """The addition of a block, whose shortcut is looked at too."""
        following = self.graph.readers[place]
        if len(following) != 1:
            raise UnsureError
        step = self.graph.step(following[0])
        early = step if step.type == "ReLU" else None
        if early is not None:
            following = self.graph.readers[early.last]
            step = self.graph.step(following[0]) if following else early
            place = early.last
        if step.type != "Add" and (early is not None or step.type == "Conv2d"):
            raise self._without_shortcut(step, block)
        if early is not None:
            reason = f"{block.name}: a ReLU stands before the addition; expected behind it alone"
            behind = [self.graph.layers[reader].type for reader in self.graph.readers[step.last]]
            reason = reason if behind == ["ReLU"] else f"{block.name}: the last ReLU stands before the addition"
            raise _Found(reason, "relu_misplaced")
        if step.type == "Concatenate":
            raise _Found(f"{block.name}: the shortcut is concatenated; expected an addition", "no_shortcut")
        if step.type != "Add":
            self._unlike(
                step, f"{block.name}: the addition expected behind conv2; found {called(step)}", "other_function"
            )
        other = [read for read in self.graph.layers[step.last].reads if read != place]
        if len(other) != 1:
            raise UnsureError
        found = shortcut_departure(self.graph, other[0], start, block.name, block.channels, block.stride)
        if found is not None:
            raise _Found(found.reason, found.credit)
        return step.last

    def _without_shortcut(self, step: Step, block: Block) -> Exception:
        """Behind conv2 the net goes on as if there were nothing to add."""
        if step.type == "Concatenate":
            return _Found(f"{block.name}: the shortcut is concatenated; expected an addition", "no_shortcut")
        if step.type in ("Conv2d", "Linear", "ReLU", *POOLINGS):
            return _Found(f"{block.name}: no shortcut is added", "no_shortcut")
        return UnsureError()

    def _relu_behind_addition(self, added: int, block: Block) -> int:
        readers = self.graph.readers[added]
        following = [self.graph.step(reader) for reader in readers]
        if len(following) == 1 and following[0].type == "ReLU":
            return following[0].last
        if following and all(step.type in ("Conv2d", "Add", "Pad", "Mean", *POOLINGS) for step in following):
            raise _Found(f"{block.name}: no ReLU behind the addition", "relu_misplaced")
        if len(following) == 1 and following[0].type in (*ACTIVATIONS, *DROPOUTS, "BatchNorm2d"):
            reason = f"{block.name}: ReLU expected behind the addition; found {called(following[0])}"
            raise _Found(reason, "other_activation" if following[0].type in ACTIVATIONS else "other_function")
        raise UnsureError

    def _head(self, place: int) -> None:
        step = self._next(place, "the last block")
        following = self.graph.after(step.last)
        if step.type == "Mean" and following is not None and following.type == "Mean":
            step = following  # first over one direction, then over the other
        if step.type == "Linear":
            raise _Found("global average pooling before the classifier is missing", "global_pooling_missing")
        if step.type in ("Conv2d", "Add"):
            raise _Found(f"more than {BLOCKS * len(STAGES)} residual blocks", "other_widths_or_depth")
        self._global_pooling(step)
        step = self._next(step.last, "the pooling")
        if step.type in DROPOUTS and step.has_effect:
            raise _Found(f"{called(step)} before the classifier; none expected", "other_in_train_mode")
        if step.type == "Linear" and (step.record.weight or (0,))[0] != 10:
            reason = f"one fully-connected layer with 10 units expected; found {(step.record.weight or (0,))[0]}"
            raise _Found(reason, "more_layers")
        end = self.graph.after(step.last) if step.type == "Linear" else step
        if end is not None and end.type in (*ACTIVATIONS, "Softmax", "Linear"):
            credit = "softmax_at_the_end" if end.type == "Softmax" else "other_function"
            raise _Found(f"{called(end)} behind the classifier; none expected", credit)

    def _global_pooling(self, step: Step) -> None:
        size = (step.record.output or ())[2:]
        if step.type in ("AdaptiveAvgPool2d", "AvgPool2d", "Mean") and size in ((1, 1), ()):
            return
        if step.type in ("MaxPool2d", "AdaptiveMaxPool2d"):
            raise _Found(f"global average pooling expected; found {called(step)}", "other_pooling")
        if step.type in ("AdaptiveAvgPool2d", "AvgPool2d") and len(size) == 2:
            found = f"maps of {size[0]}x{size[1]}"
            raise _Found(
                f"average pooling before the classifier leaves {found}; expected 1x1", "global_pooling_missing"
            )
        raise UnsureError

    def _main_readers(self, place: int) -> list[Step]:
        """What reads an operation but for an addition, to which a shortcut may lead from any place."""
        readers = [self.graph.step(reader) for reader in self.graph.readers[place]]
        return [step for step in readers if step.type != "Add"]

    # -- one operation -----------------------------------------------------------------------------------------------

    def _next(self, place: int, behind: str) -> Step:
        step = self.graph.after(place)
        if step is None:
            raise _Found(f"nothing is executed behind {behind}", "other_function")
        return step

    def _unlike(self, step: Step, reason: str, credit: str) -> None:
        """Raise what was found, or UnsureError where the operation's name does not say what it computes."""
        if step.is_sure or step.type in ("Add", "Concatenate", "Mean"):
            raise _Found(reason, credit)
        raise UnsureError

    def _convolution(self, step: Step, name: str, wanted: Convolution) -> None:
        executed = Convolution.of(step.record)
        found = wanted.against(executed)
        if found is not None:
            narrow = executed.channels != wanted.channels
            stride_alone = replace(executed, stride=wanted.stride) == wanted
            credit = "other_widths_or_depth" if narrow else "other_stride" if stride_alone else "other_geometry"
            raise _Found(f"{name}: {found}", credit)

    def _bn(self, place: int, name: str) -> int:
        readers = self._main_readers(place) or [self.graph.step(reader) for reader in self.graph.readers[place]]
        if len(readers) != 1:
            raise UnsureError
        step = readers[0]
        if step.type == "BatchNorm2d":
            if step.record.weight is None:
                raise _Found(f"the BN behind {name} has no weight and bias to learn", "bn_without_weights")
            return step.last
        behind = self.graph.readers[step.last]
        if step.type in ACTIVATIONS and len(behind) == 1 and self.graph.layers[behind[0]].type == "BatchNorm2d":
            raise _Found(f"BN stands behind the activation of {name}; expected before", "bn_behind_activation")
        if step.is_sure or step.type == "Add":
            raise _Found(f"no BN behind {name}", "bn_missing")
        raise UnsureError

    def _bn_and_relu(self, place: int, name: str) -> int:
        place = self._bn(place, name)
        following = self._main_readers(place)
        if len(following) == 1 and following[0].type == "ReLU":
            return following[0].last
        if following and all(step.type in ("Conv2d", "Pad") for step in following):
            raise _Found(f"no ReLU behind {name}", "activation_missing")
        if len(following) == 1 and following[0].is_sure:
            raise _Found(f"ReLU expected behind {name}; found {called(following[0])}", "other_activation")
        step = self.graph.after(place)  # several operations that make up one activation
        if step is not None and step.type == "Swish":
            raise _Found(f"ReLU expected behind {name}; found Swish", "other_activation")
        raise UnsureError
