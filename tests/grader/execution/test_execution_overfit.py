"""Training on one batch: right nets learn it, nets without a gradient do not, and the reply is read as hostile."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import student_nets as student
import torch
from notebook_runs import Given, Ran, run_given
from torch import nn

from grader.evidence.evidence import Overfit
from grader.execution.overfit import MAX_ASKED, STEPS, can_learn, read_reply, signature, write_request
from grader.execution.sandbox.space import Space
from grader.execution.trace_events import LayerRecord, NetEvent
from grader.execution.world import INSIDE, World
from reference import models

sys.path.append(str(INSIDE))
from course_world import overfit as inside
from course_world.images import source
from course_world.nets import nets


@pytest.fixture(autouse=True)
def _small_world(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(source, "_folder", world.data)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def overfit(module: nn.Module, folder: Path, *, multiply_adds: float = 1e6) -> Overfit:
    net = nets.add(module)
    nets.keep_copy(net)
    net.multiply_adds = multiply_adds
    place = folder / f"net-{net.number}"
    place.mkdir()
    with closing(Space.at(place)) as space:
        write_request(space, net.number)
        inside.answer(str(place))
        return read_reply(space, net.number)


def reply_in(folder: Path, net: int) -> Overfit:
    with closing(Space.at(folder)) as space:
        return read_reply(space, net)


class Viewed(nn.Module):
    """Flattens by `.view`, which asks for contiguous maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 5), nn.Linear(8 * 14 * 14, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.max_pool2d(torch.relu(self.conv(x)), 2)
        scores: torch.Tensor = self.fc(x.view(x.size(0), -1))
        return scores


RIGHT: list[Callable[[], nn.Module]] = [
    models.SimpleNN,
    lambda: models.SimpleNN(activation=models.Swish),
    lambda: models.SimpleNN(batch_norm=True),
    lambda: models.SimpleNN(True, models.Swish),
    lambda: models.ResNet20("A"),
    lambda: models.ResNet20("B"),
    student.SeveralOutputs,
    student.LogSoftmax,
    student.Softmax,
    Viewed,
]


@pytest.mark.parametrize("build", RIGHT)
def test_right_net_learns_one_batch(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(1)
    found = overfit(build(), tmp_path)
    assert found.problem is None
    assert found.losses[0] > 2.0
    assert found.last is not None
    assert found.last < 0.2


class Detached(models.SimpleNN):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).detach() + 0 * self.fc3.bias


class Blind(models.SimpleNN):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(0 * x)


@pytest.mark.parametrize("build", [Detached, Blind])
def test_net_that_cannot_learn_stays_at_chance(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    found = overfit(build(), tmp_path)
    assert len(found.losses) == STEPS
    assert found.last is not None
    assert 2.0 < found.last < 2.6


def test_frozen_parameters_are_trained_too(tmp_path: Path) -> None:
    found = overfit(models.SimpleNN().requires_grad_(False), tmp_path)
    assert found.last is not None
    assert found.last < 0.2


def test_the_net_and_random_numbers_are_left_as_they_were(tmp_path: Path) -> None:
    net = models.SimpleNN(batch_norm=True).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    overfit(net, tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.training
    assert all(p.grad is None for p in net.parameters())


def test_it_is_the_same_again_and_without_gradients_around_it(tmp_path: Path) -> None:
    net = models.SimpleNN()
    (tmp_path / "once").mkdir()
    (tmp_path / "again").mkdir()
    once = overfit(net, tmp_path / "once")
    with torch.no_grad():
        again = overfit(net, tmp_path / "again")
    assert once.losses == again.losses


def test_net_that_raises_or_blows_up_or_is_not_copied_says_so(tmp_path: Path) -> None:
    class Moody(models.SimpleNN):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("not today")

    class Infinite(models.SimpleNN):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) / 0

    assert overfit(Moody(), tmp_path) == Overfit(overfit_number(), (), "RuntimeError: not today")
    assert overfit(Infinite(), tmp_path).problem == "the loss is not a finite number"
    assert overfit(student.NotCopied(), tmp_path).problem == "the net could not be copied"


def overfit_number() -> int:
    """Of the net that was seen last."""
    return len(nets.by_number) - 1


def test_a_net_that_takes_too_long_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "SECONDS", 0.0)
    found = overfit(models.SimpleNN(), tmp_path)
    assert found.problem == f"only 1 of {STEPS} steps were taken in 0 s"
    assert found.last is None


def test_a_large_net_is_given_fewer_images() -> None:
    assert [len(inside._batch(affordable)[0]) for affordable in (100, 20, 1)] == [32, 20, 8]


# -- the reply -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"losses": [NaN], "problem": ""}',
        b'{"losses": [1e999], "problem": ""}',
        b'{"losses": ["2"], "problem": 3}',
        b'{"losses": [' + b"1," * 60 + b'1], "problem": ""}',
        b'{"losses": ' + b"[" * 5_000,
        b" " * 30_000,
    ],
)
def test_malformed_replies_are_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "reply.json").write_bytes(content)
    found = reply_in(tmp_path, 3)
    assert (found.net, found.losses) == (3, ())
    assert found.problem is not None
    assert found.problem.startswith("there are no readable losses")


def test_missing_and_linked_replies_are_none(tmp_path: Path) -> None:
    assert "reply.json is missing" in str(reply_in(tmp_path, 0).problem)
    (tmp_path / "reply.json").symlink_to("/etc/hostname")
    assert reply_in(tmp_path, 0).losses == ()


def test_too_few_losses_without_a_problem_have_no_last_one(tmp_path: Path) -> None:
    (tmp_path / "reply.json").write_text(json.dumps({"losses": [2.3, 0.1], "problem": ""}))
    assert reply_in(tmp_path, 0).last is None


# -- which nets ------------------------------------------------------------------------------------------------------

CONV, LINEAR = LayerRecord(type="Conv2d", weight=(8, 3, 5, 5)), LayerRecord(type="Linear", weight=(10, 576))


def event(*layers: LayerRecord, shape: tuple[int, ...] = (4, 3, 32, 32), output: tuple[int, ...] | None = (4, 10)):
    return NetEvent(
        event="net", cell=0, net=0, cls="N", origin="called", layers=layers, used=1, unused=0, copied=True,
        input=shape, output=output,
    )  # fmt: skip


def test_classifiers_of_images_are_asked_and_others_are_not() -> None:
    assert can_learn(event(CONV, LINEAR))
    assert not can_learn(event(LINEAR))
    assert not can_learn(event(CONV, LINEAR, output=(4, 16)))
    assert not can_learn(event(CONV, LINEAR, output=None))
    assert not can_learn(event(CONV, LINEAR, shape=(4, 1, 28, 28)))


def test_activations_make_another_kind_of_net() -> None:
    assert signature(event(CONV, LayerRecord(type="ReLU"), LINEAR)) != signature(event(CONV, LINEAR))


CELLS = {
    "prelude": """
import torch, torch.nn as nn
def make(width, *more): return nn.Sequential(nn.Conv2d(3, width, 5), nn.ReLU(), *more, nn.AdaptiveAvgPool2d(4),
                                             nn.Flatten(), nn.Linear(16 * width, 10))
images = torch.zeros(2, 3, 32, 32)
torch.manual_seed(3); before = torch.rand(1); torch.manual_seed(3)
""",
    "one": "net = make(8); net(images); other = make(8); other(images)",
    "same numbers": "torch.manual_seed(3); assert torch.equal(torch.rand(1), before)",
    "many": "kept = [make(width) for width in range(3, 12)]\nfor n in kept: n(images)",
    "trained": "optimizer = torch.optim.SGD(net.parameters(), 0.1); net(images).sum().backward(); optimizer.step()",
}


@pytest.fixture(scope="module")
def ran(world: World, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_given({"nets": Given(CELLS)}, tmp_path_factory.mktemp("overfit"), world)["nets"]


@pytest.mark.slow
def test_each_kind_of_net_is_asked_once_and_not_too_many(ran: Ran) -> None:
    found = [Overfit(**entry) for entry in json.loads((ran.folder / "overfits.json").read_text())]
    assert len(found) == MAX_ASKED
    assert len({entry.net for entry in found}) == MAX_ASKED
    assert all(len(entry.losses) == STEPS and entry.problem is None for entry in found)


@pytest.mark.slow
def test_the_trace_knows_nothing_of_it(ran: Ran) -> None:
    assert [ran.status(name) for name in ran.names] == ["ok"] * len(CELLS)
    steps = [entry for entry in ran.events if entry.event == "step"]
    assert [(step.earlier_steps, step.images) for step in steps] == [(0, 2)]
    assert not [entry for entry in ran.events if entry.event in ("fault", "initial_loss")]
