"""What each layer of a network costs: output shape, parameters, multiply-adds."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """One layer as it ran. `output_shape` leaves out the batch; `multiply_adds` are per image, biases not counted."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def multiply_adds(module: nn.Module, output: Tensor) -> int:
    """Multiply-adds per image of a convolution or fully-connected layer; 0 for any other module.

    Convolution: output values x weights that each is summed over, C_out * H * W * (C_in / groups * K * K).
    """
    if isinstance(module, nn.Conv2d | nn.Linear):
        weights_per_output = module.weight[0].numel()
        return math.prod(output.shape[1:]) * weights_per_output
    return 0


def layers(net: nn.Module, input_shape: tuple[int, ...] = (3, 32, 32)) -> list[Layer]:
    """Run one dummy image (zeros, `input_shape`) through `net` and list its innermost modules in order of execution.

    A module that runs twice is listed twice, its parameters counted once. The mode of `net` is restored.
    """
    listed: list[Layer] = []
    seen: set[str] = set()

    def record(name: str, module: nn.Module, output: Tensor) -> None:
        parameters = 0 if name in seen else sum(parameter.numel() for parameter in module.parameters())
        seen.add(name)
        shape = tuple(output.shape[1:])
        listed.append(Layer(name, type(module).__name__, shape, parameters, multiply_adds(module, output)))

    handles = [
        module.register_forward_hook(lambda module, _inputs, output, name=name: record(name, module, output))
        for name, module in net.named_modules()
        if not list(module.children())
    ]
    was_training = net.training
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, *input_shape))
    finally:
        net.train(was_training)
        for handle in handles:
            handle.remove()
    return listed
