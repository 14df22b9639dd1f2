"""Challenges: right nets are recognised whatever they look like, wrong ones with the same layers are told apart."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import student_nets as student
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file
from torch import nn

from grader.execution.architectures import ARCHITECTURES, Layers, layers_of, parameter_count
from grader.execution.challenge import Challenge, candidates, draw, read_reply, write_request
from grader.execution.sandbox.space import Space
from grader.execution.trace_events import AnyEvent, NetEvent
from grader.execution.world import INSIDE
from reference import models

sys.path.append(str(INSIDE))
from course_world import challenge as inside
from course_world.nets import layer_names, names_of, nets
from course_world.operations import Watch

SEED = 20


pytestmark = pytest.mark.usefixtures("one_thread")


def described(module: nn.Module) -> tuple[int, NetEvent]:
    """The net's number and its event, as the hooks make it from its first call."""
    net = nets.add(module)
    nets.keep_copy(net)
    images = torch.zeros(2, 3, 32, 32)
    with torch.no_grad(), Watch() as watch:
        module(images)
    counts, names = {id(p): p.numel() for p in module.parameters()}, layer_names(module)
    event = {
        "event": "net",
        "cell": 0,
        "net": net.number,
        "cls": type(module).__name__,
        "origin": "called",
        "layers": [operation.describe() | names_of(operation, names) for operation in watch.operations],
        "used": sum(n for key, n in counts.items() if key in watch.used),
        "unused": sum(n for key, n in counts.items() if key not in watch.used),
        "copied": net.copy is not None,
    }
    return net.number, TypeAdapter(AnyEvent).validate_python(json.loads(json.dumps(event)))


def challenges_of(module: nn.Module, folder: Path) -> list[Challenge]:
    number, event = described(module)
    answers = []
    for index, names in enumerate(candidates(event)):
        place = folder / f"challenge-{number}-{index}"
        place.mkdir()
        question = draw(names, SEED)
        with closing(Space.at(place)) as space:
            write_request(space, number, question)
            inside.answer(str(place))
            answers.append(read_reply(space, number, question))
    return answers


def only(answers: list[Challenge]) -> Challenge:
    assert len(answers) == 1, answers
    return answers[0]


REFERENCE: list[tuple[Callable[[], nn.Module], set[str], int]] = [
    (models.SimpleNN, {"simplenn"}, 82_030),
    (lambda: models.SimpleNN(activation=models.Swish), {"simplenn_swish"}, 82_030),
    (lambda: models.SimpleNN(batch_norm=True), {"simplenn_bn"}, 82_078),
    (lambda: models.SimpleNN(True, models.Swish), {"simplenn_bn_swish"}, 82_078),
    (lambda: models.ResNet20("A"), {"resnet20_a_behind"}, 269_722),
    (lambda: models.ResNet20("B"), {"resnet20_b"}, 272_474),
]


@pytest.mark.parametrize(("build", "names", "parameters"), REFERENCE)
def test_reference_is_recognised(
    build: Callable[[], nn.Module], names: set[str], parameters: int, tmp_path: Path
) -> None:
    net = build()
    assert set(only(challenges_of(net, tmp_path)).equal) == names
    assert described(net)[1].used == parameters


@pytest.mark.parametrize(
    ("name", "parameters"), [("simplenn", 82_030), ("resnet20_a", 269_722), ("resnet20_b", 272_474)]
)
def test_parameter_counts_of_the_descriptions(name: str, parameters: int) -> None:
    assert parameter_count(name) == parameters


@pytest.mark.parametrize(("build", "names", "parameters"), REFERENCE)
@pytest.mark.parametrize("training", [False, True])
def test_descriptions_compute_the_reference_s_function(
    build: Callable[[], nn.Module], names: set[str], parameters: int, training: bool
) -> None:
    """Independently of any challenge: the description's weights, loaded into the reference in order of its layers."""
    net, name = build().double().train(training), next(iter(names))
    layers, images = Layers(torch.Generator().manual_seed(1)), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    ARCHITECTURES[name](images, layers)
    order = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    for module, (layer, weights) in zip(order, layers.drawn, strict=True):
        assert tuple(module.weight.shape) == layer.shape
        state = {**module.state_dict(), **({"bias": torch.zeros(layer.shape[0])} if module.bias is not None else {})}
        module.load_state_dict({**state, **weights})
    with torch.no_grad():
        assert torch.allclose(net(images), ARCHITECTURES[name](images, layers.restart(training=training)), atol=1e-10)


RIGHT: list[tuple[Callable[[], nn.Module], str]] = [
    (student.Table1, "simplenn"),
    (student.Functional, "simplenn"),
    (student.Listed, "simplenn"),
    (student.PoolsFirst, "simplenn"),
    (student.SeveralOutputs, "simplenn"),
    (student.LogSoftmax, "simplenn"),
    (student.NotCopied, "simplenn"),
    (student.NormalisedNeverCalled, "simplenn"),
    (student.Normalised, "simplenn_bn"),
    (student.NormalisedWithBias, "simplenn_bn"),
    (student.OwnSwish, "simplenn_bn_swish"),
    (student.Harmless, "simplenn_bn"),
    (student.ResNet, "resnet20_a_behind"),
    (lambda: student.ResNet("zeros by cat"), "resnet20_a_behind"),
    (lambda: student.ResNet("biases"), "resnet20_a_behind"),
    (lambda: student.ResNet("zeros in the middle"), "resnet20_a"),
    (lambda: student.ResNet("B"), "resnet20_b"),
    (lambda: student.ResNet("B, shortcut first"), "resnet20_b"),
    (lambda: student.ResNet("B, both convolutions first"), "resnet20_b"),
]


@pytest.mark.parametrize(("build", "name"), RIGHT)
def test_right_net_in_another_style(build: Callable[[], nn.Module], name: str, tmp_path: Path) -> None:
    answer = only(challenges_of(build(), tmp_path))
    assert (answer.equal, answer.problem, answer.precision) == ((name,), None, "float64")


WRONG: list[Callable[[], nn.Module]] = [
    student.LeakyReLU,
    student.NoReLUBetween,
    student.ReLUAtTheEnd,
    student.AveragePools,
    student.Padded,
    student.Transposed,
    student.NormalisedAfterReLU,
    student.NormalisedAfterPool,
    student.SwishButForOne,
    lambda: student.ResNet("BN after ReLU"),
    lambda: student.ResNet("ReLU missing"),
    lambda: student.ResNet("ReLU before the addition"),
    lambda: student.ResNet("no ReLU after the addition"),
    lambda: student.ResNet("no shortcut"),
    lambda: student.ResNet("averaging shortcut"),
    lambda: student.ResNet("stride in the second"),
    lambda: student.ResNet("pooled after the stem"),
    lambda: student.ResNet("B with a ReLU"),
]


@pytest.mark.parametrize("build", WRONG)
def test_wrong_net_with_the_same_layers(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    answer = only(challenges_of(build(), tmp_path))
    assert (answer.equal, answer.equal_in_eval, answer.equal_but_softmax, answer.problem) == ((), (), (), None)
    assert min(max(pair) for pair in answer.differences.values()) > 1e-3


@pytest.mark.parametrize(
    ("build", "name", "without", "other"),
    [
        (student.WeightsAsData, "simplenn", (0,), ()),
        (student.FeaturesWithoutGradient, "simplenn", (0, 1), ()),
        (student.SwishOfDetached, "simplenn_bn_swish", (), (0, 1, 2, 3, 4, 5)),
    ],
)
def test_right_outputs_with_other_gradients(
    build: Callable[[], nn.Module], name: str, without: tuple[int, ...], other: tuple[int, ...], tmp_path: Path
) -> None:
    answer = only(challenges_of(build(), tmp_path))
    assert (answer.equal, answer.equal_in_values) == ((), (name,))
    assert (answer.without_gradient, answer.other_gradient) == (without, other)


def test_where_backward_raises_outputs_alone_are_compared(tmp_path: Path) -> None:
    answer = only(challenges_of(student.BackwardRaises(), tmp_path))
    assert (answer.equal, answer.equal_in_values) == (("simplenn_bn_swish",), ())
    assert "modified by an inplace operation" in answer.gradient_problem


def test_gradients_in_float32(tmp_path: Path) -> None:
    class Blind(student.OnlyInFloat32, student.FeaturesWithoutGradient): ...

    assert only(challenges_of(Blind(), tmp_path)).without_gradient == (0, 1)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (student.NormalisedAfterReLU, "simplenn_bn_last"),
        (lambda: student.ResNet("B without BN"), "resnet20_b_without_bn"),
    ],
)
def test_common_mistake_is_recognised_and_not_right(build: Callable[[], nn.Module], name: str, tmp_path: Path) -> None:
    answer = only(challenges_of(build(), tmp_path))
    assert (answer.equal, answer.deviations) == ((), (name,))


def test_dropout_is_equal_in_eval_mode_alone(tmp_path: Path) -> None:
    for net, name in ((student.Dropped(), "simplenn"), (student.ResNet("dropout"), "resnet20_a_behind")):
        answer = only(challenges_of(net, tmp_path))
        assert (answer.equal, answer.equal_in_eval) == ((), (name,))


def test_softmax_after_the_logits(tmp_path: Path) -> None:
    answer = only(challenges_of(student.Softmax(), tmp_path))
    assert (answer.equal, answer.equal_but_softmax, answer.last) == ((), ("simplenn",), "softmax")
    assert only(challenges_of(student.LogSoftmax(), tmp_path)).last == "log_softmax"


def test_net_that_fails_in_float64_is_asked_in_float32(tmp_path: Path) -> None:
    answer = only(challenges_of(student.OnlyInFloat32(), tmp_path))
    assert (answer.equal, answer.precision) == (("simplenn",), "float32")


def test_net_that_cannot_be_copied_gets_its_weights_back(tmp_path: Path) -> None:
    net = student.NotCopied().eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert not described(net)[1].copied
    assert only(challenges_of(net, tmp_path)).equal == ("simplenn",)
    assert not net.training
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_challenge_leaves_the_copy_as_it_was_and_can_be_repeated(tmp_path: Path) -> None:
    number, event = described(models.SimpleNN(batch_norm=True))
    answers = []
    for attempt in range(2):
        place = tmp_path / f"attempt-{attempt}"
        place.mkdir()
        with closing(Space.at(place)) as space:
            write_request(space, number, draw(candidates(event)[0], SEED))
        inside.answer(str(place))
        answers.append(load_file(place / "reply.safetensors"))
    assert set(answers[0]) == {"eval", "train", *(f"gradient.{index}" for index in range(7))}
    assert all(torch.equal(answers[0][mode], answers[1][mode]) for mode in answers[0])


def test_net_that_raises_gives_its_error(tmp_path: Path) -> None:
    class Moody(models.SimpleNN):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) == 4:
                raise RuntimeError("not four")
            return super().forward(x)

    assert only(challenges_of(Moody(), tmp_path)).problem == "RuntimeError: not four"


def test_other_layers_are_no_candidates() -> None:
    narrow = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(7200, 10))
    assert candidates(described(narrow)[1]) == []


def test_unused_head_is_not_counted() -> None:
    event = described(student.Listed())[1]
    assert (event.used, event.unused) == (82_030, 8_500)


def names_in(module: nn.Module) -> list[str]:
    return [layer.name for layer in described(module)[1].layers if layer.weight]


def test_layers_are_named_as_in_the_net_s_state() -> None:
    assert names_in(student.Table1()) == ["a", "b", "first", "second", "third"]
    assert names_in(student.Functional()) == [f"weights.{index}" for index in range(5)]
    assert names_in(student.ResNet("B"))[-4:] == ["blocks.8.bn1", "blocks.8.conv2", "blocks.8.bn2", "classifier"]


def test_a_detached_weight_keeps_its_layer_s_name() -> None:
    class Detached(student.Table1):
        def features(self, x: torch.Tensor) -> torch.Tensor:
            x = self.pool(self.act(nn.functional.conv2d(x, self.a.weight.data, self.a.bias)))
            return self.pool(self.act(self.b(x)))

    assert names_in(Detached())[0] == "a"


def test_layers_of_an_architecture_are_in_order_of_execution() -> None:
    kinds = [layer.kind for layer in layers_of("simplenn_bn")]
    assert kinds == ["conv", "bn", "conv", "bn", "linear", "linear", "linear"]
    assert [layer.after for layer in layers_of("simplenn_bn") if layer.kind == "bn"] == [0, 2]
    assert sum(layer.kind != "bn" for layer in layers_of("resnet20_b")) == 22
