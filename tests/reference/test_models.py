"""Counts, shapes and the properties that the papers state."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reference.models import ResNet20, SimpleNN, SubsampleAndPad, Swish, count_parameters


@pytest.mark.parametrize(
    ("net", "parameters"),
    [
        (SimpleNN(), 82_030),
        (SimpleNN(batch_norm=True), 82_078),
        (SimpleNN(batch_norm=True, activation=Swish), 82_078),
        (ResNet20("A"), 269_722),
        (ResNet20("B"), 272_474),
    ],
    ids=["simplenn", "simplenn-bn", "simplenn-bn-swish", "resnet20-a", "resnet20-b"],
)
def test_parameter_count_and_logits_shape(net: nn.Module, parameters: int) -> None:
    assert count_parameters(net) == parameters
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_count_parameters_leaves_out_frozen_ones() -> None:
    net = SimpleNN()
    net.fc3.weight.requires_grad_(False)
    assert count_parameters(net) == 82_030 - 840


def test_swish_values_and_gradient() -> None:
    x = torch.linspace(-6, 6, 101, dtype=torch.float64, requires_grad=True)
    y = Swish()(x)
    torch.testing.assert_close(y, F.silu(x))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    s = torch.sigmoid(x)
    torch.testing.assert_close(gradient, s * (1 + x * (1 - s)))


def test_swish_replaces_every_relu() -> None:
    kinds = [type(module) for module in SimpleNN(activation=Swish).modules()]
    assert nn.ReLU not in kinds
    assert kinds.count(Swish) == 4


def test_batch_norm_stands_between_convolution_and_activation() -> None:
    net = SimpleNN(batch_norm=True)
    order: list[str] = []
    for name, module in net.named_modules():
        module.register_forward_hook(lambda *_, name=name: order.append(name))
    net(torch.randn(4, 3, 32, 32))
    assert order[:7] == ["conv1", "bn1", "act1", "pool", "conv2", "bn2", "act2"]


def test_option_a_shortcut_subsamples_and_pads_with_zeros() -> None:
    shortcut = SubsampleAndPad(16, 32, stride=2)
    assert list(shortcut.parameters()) == []
    x = torch.randn(2, 16, 32, 32)
    y = shortcut(x)
    assert y.shape == (2, 32, 16, 16)
    torch.testing.assert_close(y[:, :16], x[:, :, ::2, ::2])
    assert torch.count_nonzero(y[:, 16:]) == 0


def test_option_a_shortcut_is_the_identity_where_the_shape_stays() -> None:
    x = torch.randn(2, 16, 8, 8)
    torch.testing.assert_close(SubsampleAndPad(16, 16, stride=1)(x), x)


def test_option_b_projects_twice_only() -> None:
    ones = [m for m in ResNet20("B").modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert [(m.in_channels, m.out_channels, m.stride) for m in ones] == [(16, 32, (2, 2)), (32, 64, (2, 2))]


def test_resnet20_has_twenty_weighted_layers_of_the_papers_widths() -> None:
    net = ResNet20("A")
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.kernel_size == (3, 3) and m.bias is None for m in convolutions)
    widths = [m.out_channels for m in convolutions]
    assert [widths.count(width) for width in (16, 32, 64)] == [7, 6, 6]
    assert len(convolutions) + sum(isinstance(m, nn.Linear) for m in net.modules()) == 20


def test_resnet20_stage_shapes() -> None:
    net = ResNet20()
    shapes: list[tuple[int, ...]] = []
    for stage in (net.stage1, net.stage2, net.stage3):
        stage.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    net(torch.zeros(1, 3, 32, 32))
    assert shapes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_resnet20_convolutions_are_drawn_by_he_initialization() -> None:
    torch.manual_seed(0)
    weight = ResNet20().stage3[1].conv1.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


def test_residual_block_with_a_silent_branch_passes_its_input_on() -> None:
    block = ResNet20().stage1[0]
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 16, 8, 8)  # positive, so that the last ReLU changes nothing
    torch.testing.assert_close(block(x), x)


def test_resnet20_refuses_an_unknown_option() -> None:
    with pytest.raises(ValueError, match=r"option must be 'A' or 'B', found 'C'"):
        ResNet20("C")  # type: ignore[arg-type]
