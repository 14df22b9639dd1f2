"""Where the shortcut of a residual block departs from option A or B of arXiv:1512.03385."""

from __future__ import annotations

from grader.checks.diagnosis.graph import ACTIVATIONS, Convolution, Departure, Graph, UnsureError, called, square


def shortcut_departure(graph: Graph, end: int, start: int, block: str, channels: int, stride: int) -> Departure | None:
    """What differs on the way from a block's input `start` to what is added, `end`. Raises UnsureError."""
    path = _path(graph, end, start)
    if path is None:
        return Departure(f"{block}: the shortcut does not start at the block's input", "other_shortcut")
    types = [graph.layers[place].type for place in path]
    convolutions = [place for place in path if graph.layers[place].type == "Conv2d"]
    if stride == 1:
        return _identity(block, types)
    if len(convolutions) > 1:
        return Departure(f"the shortcut of {block} has {len(convolutions)} convolutions", "other_shortcut")
    if convolutions:
        return _projection(graph, path, block, channels, stride)
    return _without_weights(graph, path, block)


def _path(graph: Graph, end: int, start: int) -> list[int] | None:
    """The operations between a block's input and the addition, in order; None where they start elsewhere."""
    path: list[int] = []
    place = end
    while place != start:
        path.insert(0, place)
        reads = graph.layers[place].reads
        if place < start or _is_main(graph, place, start):
            return None
        if len(reads) != 1:
            raise UnsureError
        place = reads[0]
    return path


def _is_main(graph: Graph, place: int, start: int) -> bool:
    """Whether an operation feeds the block's convolutions as well, so that the shortcut branches off there."""
    others = [
        reader for reader in graph.readers[place] if graph.layers[reader].type in ("Conv2d", "BatchNorm2d", "ReLU")
    ]
    return len(graph.readers[place]) > 1 and bool(others) and start < place


def _identity(block: str, types: list[str]) -> Departure | None:
    if "Conv2d" in types:
        return Departure(f"{block}: a projection in the shortcut; the identity expected", "other_shortcut")
    if "BatchNorm2d" in types:
        return Departure(f"{block}: BN in the shortcut; the identity expected", "other_shortcut")
    if types and set(types) != {"ReLU"}:  # one more ReLU changes nothing behind a ReLU
        raise UnsureError
    return None


def _projection(graph: Graph, path: list[int], block: str, channels: int, stride: int) -> Departure | None:
    types = [graph.layers[place].type for place in path]
    where = types.index("Conv2d")
    found = Convolution(channels, 1, stride, 0).against(Convolution.of(graph.layers[path[where]]))
    if found is not None:
        return Departure(f"the projection in the shortcut of {block}: {found}", "other_shortcut")
    behind = types[where + 1 :]
    if not behind or behind[0] != "BatchNorm2d":
        known = not behind or behind[0] in ACTIVATIONS
        if not known:
            raise UnsureError
        return Departure(f"the shortcut of {block} has a projection without BN", "projection_without_bn")
    activation = next((place for place in path[where + 1 :] if graph.layers[place].type in ACTIVATIONS), None)
    if activation is not None:
        name = called(graph.step(activation))
        return Departure(f"the shortcut of {block} adds a {name} that the paper does not have", "other_shortcut")
    if behind != ["BatchNorm2d"] or where > 0:
        raise UnsureError
    return None


def _without_weights(graph: Graph, path: list[int], block: str) -> Departure | None:
    """Option A: every second pixel, by slices or by a pooling of one pixel, and zeros for the new channels."""
    for place in path:
        layer = graph.layers[place]
        if layer.type in ("AvgPool2d", "MaxPool2d"):
            kernel = square(layer.kernel_size, 0)
            if kernel != 1:
                found = f"{called(graph.step(place))} over {kernel}x{kernel} pixels"
                return Departure(
                    f"the shortcut of {block} takes {found}; option A takes every second pixel", "other_shortcut"
                )
        elif layer.type == "BatchNorm2d":
            return Departure(f"the shortcut of {block} has BN without a projection", "other_shortcut")
        elif layer.type not in ("Pad", "Concatenate", "ReLU"):
            raise UnsureError
    return None
