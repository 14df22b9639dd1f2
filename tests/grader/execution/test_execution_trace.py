"""Every event of the trace says what a small notebook really did: one kernel runs all scenes, a cell each."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from notebook_runs import Given, Ran, run_given
from trace_scenarios import CELLS

from grader.execution.trace_events import StepEvent, Transform
from grader.execution.world import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(world: World, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_given({"scenes": Given(CELLS)}, tmp_path_factory.mktemp("trace"), world)["scenes"]


def only(events: list[Any]) -> Any:
    assert len(events) == 1, events
    return events[0]


def step(ran: Ran, name: str) -> StepEvent:
    """The last step of a scene."""
    event: StepEvent = ran.of(name, "step")[-1]
    return event


@pytest.mark.parametrize("name", CELLS)
def test_scene_runs_as_it_would_without_a_trace(ran: Ran, name: str) -> None:
    result = ran.result(name)
    assert (result["status"], result["error"]) == ("ok", "")


def test_no_hook_fails_and_every_line_is_an_event(ran: Ran) -> None:
    assert [event for event in ran.events if event.event == "fault"] == []
    assert ran.malformed == 0


# -- whose images ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split"), [("dummy", None), ("taken batch", "train"), ("dummy while open", None), ("in memory", "train")]
)
def test_input_is_told_from_made_up_images(ran: Ran, name: str, split: str | None) -> None:
    assert only(ran.of(name, "input")).split == split


def test_modes_and_gradients_of_each_pass(ran: Ran) -> None:
    train, without_gradients, with_gradients = ran.of("modes", "pass")
    assert (train.split, train.training, train.grad, train.steps) == ("train", True, True, 2)
    assert (without_gradients.split, without_gradients.training, without_gradients.grad) == ("val", False, False)
    assert (with_gradients.training, with_gradients.grad, with_gradients.steps) == (False, True, 0)
    assert with_gradients.nets == (step(ran, "modes").net,)


def test_steps_in_eval_mode_are_seen(ran: Ran) -> None:
    assert [s.training for s in ran.of("eval while training", "step")] == [False, False]


def test_steps_keep_their_split_around_a_validation(ran: Ran) -> None:
    assert {s.split for s in ran.of("validation inside", "step")} == {"train"}
    assert {p.split: p.training for p in ran.of("validation inside", "pass")} == {"val": False, "train": True}


def test_steps_on_test_images_are_seen(ran: Ran) -> None:
    assert {s.split for s in ran.of("trained on test", "step")} == {"test"}


def test_parts_of_a_batch_belong_to_its_split(ran: Ran) -> None:
    steps = ran.of("micro-batches", "step")
    assert {s.split for s in steps} == {"train"}
    assert {(s.images, s.backwards, s.fresh_gradients) for s in steps} == {(16, 4, True)}


def test_test_split_keeps_its_rows(ran: Ran) -> None:
    assert ran.printed("test split").strip() == "300"


def test_input_given_by_name_is_seen(ran: Ran) -> None:
    assert only(ran.of("by keyword", "input")).shape == (64, 3, 32, 32)


# -- losses and gradients --------------------------------------------------------------------------------------------


def test_initial_losses_belong_to_the_net_that_was_called(ran: Ran) -> None:
    losses, net = ran.of("initial loss", "initial_loss"), ran.of("initial loss", "net")[0].net
    assert [f"{loss.value}" for loss in losses] == ran.printed("initial loss").split()
    assert {loss.net for loss in losses} == {net}
    assert {loss.split for loss in losses} == {"val"}


def test_initial_loss_at_the_end_of_a_cell_is_reported_in_it(ran: Ran) -> None:
    assert only(ran.of("initial loss alone", "initial_loss")).value == pytest.approx(math.log(10), abs=0.3)


@pytest.mark.parametrize(
    ("name", "kind", "fed"),
    [
        ("modes", "cross_entropy", "logits"),
        ("probabilities", "cross_entropy", "probabilities"),
        ("nll", "nll_loss", "logits"),
        ("own loss", None, None),
        ("autocast and scaler", "cross_entropy", "logits"),
    ],
)
def test_loss_and_what_it_was_fed_with(ran: Ran, name: str, kind: str | None, fed: str | None) -> None:
    assert (step(ran, name).loss_kind, step(ran, name).loss_fed) == (kind, fed)


def test_loss_is_before_a_scaler_multiplies_it(ran: Ran) -> None:
    assert step(ran, "autocast and scaler").loss == step(ran, "autocast and scaler").cross_entropy
    assert ran.of("autocast and scaler", "penalty") == []


@pytest.mark.parametrize(
    ("name", "fresh"),
    [
        ("never zeroed", [True] + [False] * 7),
        ("zeroed by net", [True] * 8),
        ("accumulated", [True] * 4),
        ("retained graph", [True]),
    ],
)
def test_fresh_gradients(ran: Ran, name: str, fresh: list[bool]) -> None:
    assert [s.fresh_gradients for s in ran.of(name, "step")] == fresh


def test_gradients_zeroed_before_the_step_are_none(ran: Ran) -> None:
    assert [s.has_gradients for s in ran.of("zeroed too late", "step")] == [False] * 8
    assert {s.has_gradients for s in ran.of("accumulated", "step")} == {True}


# -- penalties -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "coefficient"),
    [
        ("l1", 1e-3),
        ("l1 by norm, weights only", 1e-4),
        ("l1 by L1Loss in a function", 1e-4),
        ("l1 accumulated", 1e-3 / 4),
        ("l1 from the 4th step", 1e-3),
    ],
)
def test_l1_penalty_is_measured(ran: Ran, name: str, coefficient: float) -> None:
    penalty = ran.of(name, "penalty")[-1]
    assert penalty.l1.coefficient == pytest.approx(coefficient, rel=0.01)
    assert (penalty.l1.unexplained < 0.01, penalty.l1.covers) == (True, 1.0)
    assert penalty.l2.unexplained > 0.3


def test_l1_penalty_of_means_has_a_coefficient_for_each_layer(ran: Ran) -> None:
    penalty = only(ran.of("l1 as means", "penalty"))
    assert penalty.l1.unexplained < 0.01
    assert 0.1 / 1960 < penalty.l1.coefficient < 0.1 / 300


@pytest.mark.parametrize("name", ["l1 on data", "l1 times 0"])
def test_penalty_without_gradient(ran: Ran, name: str) -> None:
    penalty = only(ran.of(name, "penalty"))
    assert penalty.gradient_norm == 0
    assert penalty.l1.coefficient == 0
    assert (penalty.value > 0) == (name == "l1 on data")


def test_l2_by_hand_is_not_l1(ran: Ran) -> None:
    penalty = only(ran.of("l2 by hand", "penalty"))
    assert penalty.l2.coefficient == pytest.approx(1e-2, rel=0.01)
    assert penalty.l2.unexplained < 0.01
    assert penalty.l1.unexplained > 0.3


def test_divided_loss_is_no_penalty(ran: Ran) -> None:
    for penalty in ran.of("accumulated", "penalty"):
        assert (penalty.l1.coefficient, penalty.l2.coefficient) == (0, 0)


@pytest.mark.parametrize("name", ["modes", "own loss", "adam", "nll"])
def test_plain_loss_has_no_penalty(ran: Ran, name: str) -> None:
    assert ran.of(name, "penalty") == []


# -- optimizers and schedules ----------------------------------------------------------------------------------------


def test_settings_are_those_of_the_step(ran: Ran) -> None:
    adam, groups = step(ran, "adam"), step(ran, "groups")
    assert (adam.kind, adam.lr, adam.weight_decay) == ("Adam", 3e-3, 1e-2)
    assert (groups.lr, groups.momentum, groups.weight_decay, groups.groups, groups.covers) == (0.05, 0.8, 5e-4, 2, 1)


def test_share_of_the_net_that_is_stepped(ran: Ran) -> None:
    assert step(ran, "half of the net").covers == pytest.approx(1970 / 2274, abs=1e-3)
    assert step(ran, "head replaced").covers == 1
    assert step(ran, "head replaced after the optimizer").covers == pytest.approx(304 / 2274, abs=1e-3)


def test_optimizer_of_another_net(ran: Ran) -> None:
    called = next(n for n in ran.of("another net's", "net") if n.origin == "called")
    stepped = step(ran, "another net's")
    assert stepped.fed == called.net
    assert stepped.net not in (None, called.net)


def test_closure_is_one_step(ran: Ran) -> None:
    stepped = only(ran.of("closure", "step"))
    assert (stepped.kind, stepped.backwards > 1, stepped.fresh_gradients) == ("LBFGS", True, True)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("StepLR", [0.1, 0.1, 0.01, 0.01]),
        ("LambdaLR", [0.1, 0.05, 0.1 / 3]),
        ("rate by hand", [0.1, 0.05, 0.025]),
    ],
)
def test_learning_rate_at_each_step(ran: Ran, name: str, rates: list[float]) -> None:
    assert [s.lr for s in ran.of(name, "step")] == pytest.approx(rates)


def test_one_cycle_runs_to_its_end(ran: Ran) -> None:
    rates = [s.lr for s in ran.of("OneCycleLR", "step")]
    assert len(rates) == 24
    assert max(rates) == pytest.approx(0.4, rel=0.01)
    assert rates[-1] < 1e-3


def test_continued_and_copied_nets_are_not_fresh(ran: Ran) -> None:
    assert step(ran, "continued").earlier_steps == 3
    assert step(ran, "copied").earlier_steps == 3
    assert step(ran, "modes").earlier_steps == 1


# -- nets ------------------------------------------------------------------------------------------------------------

WHOLE = ["Conv2d", "ReLU", "Linear"]


@pytest.mark.parametrize("name", ["dummy", "data parallel", "compiled", "module list", "functional"])
def test_executed_operations(ran: Ran, name: str) -> None:
    assert [layer.type for layer in ran.of(name, "net")[0].layers] == WHOLE


def test_geometry_and_order_of_operations(ran: Ran) -> None:
    conv, relu, linear = ran.of("dummy", "net")[0].layers
    assert (conv.weight, conv.kernel_size, conv.stride, conv.bias) == ((4, 3, 5, 5), (5, 5), (4, 4), True)
    assert (conv.output, linear.output) == ((64, 4, 7, 7), (64, 10))
    assert (conv.reads, relu.reads, linear.reads) == ((), (0,), (1,))


def test_unused_parameters(ran: Ran) -> None:
    net = ran.of("module list", "net")[0]
    assert (net.used, net.unused) == (2274, 1379)
    assert ran.of("functional", "net")[0].used == 300 + 1960


@pytest.mark.parametrize(
    "name", ["data parallel", "compiled", "scripted", "traced", "net inside a net", "functional", "raises inside"]
)
def test_steps_belong_to_the_net_that_was_called(ran: Ran, name: str) -> None:
    stepped = step(ran, name)
    assert stepped.net == stepped.fed is not None
    assert (stepped.covers, stepped.split) == (1, "train")


def test_net_inside_a_net_is_not_called_itself(ran: Ran) -> None:
    inner, outer = ran.of("net inside a net", "net")
    assert [layer.type for layer in outer.layers] == [*WHOLE, "Add"]
    assert (inner.cls, outer.cls, step(ran, "net inside a net").net) == ("Tiny", "Outer", outer.net)


def test_module_without_parameters_is_no_net(ran: Ran) -> None:
    assert ran.of("no state") == []


def test_net_made_for_images_that_raises(ran: Ran) -> None:
    broken = only(ran.of("not for images"))
    assert (broken.event, broken.cls) == ("broken_net", "Sequential")
    assert broken.problem.startswith("RuntimeError: mat1 and mat2")


def test_class_that_was_never_built(ran: Ran) -> None:
    net = only(ran.of("class alone", "net"))
    assert (net.origin, net.used, net.unused) == ("class", 30_730, 30)
    assert ran.printed("class alone") == ""


def test_grader_uses_up_no_random_numbers(ran: Ran) -> None:
    torch.manual_seed(3)
    expected = [f"{torch.rand(1).item()}" for _ in range(2)]
    assert [ran.printed("random numbers").strip(), ran.printed("random numbers after").strip()] == expected


def test_moves(ran: Ran) -> None:
    assert [move.device for move in ran.of("moved", "moved")] == ["cuda", "cuda", "cuda:0"]


# -- saving and loading ----------------------------------------------------------------------------------------------


def test_saved_net(ran: Ran) -> None:
    assert (only(ran.of("saved", "save")).net, ran.of("saved", "save")[0].steps) == (step(ran, "saved").net, 2)
    wrong = only(ran.of("saved the wrong one", "save"))
    assert wrong.net != step(ran, "saved the wrong one").net
    assert wrong.steps == 0
    copied = only(ran.of("saved a copy", "save"))
    assert (copied.net, copied.steps) == (step(ran, "saved a copy").net, 2)


def test_loaded_weights_keep_their_steps(ran: Ran) -> None:
    assert only(ran.of("loaded", "load")).steps == 2
    assert step(ran, "loaded").earlier_steps == 2
    assert only(ran.of("loaded from elsewhere", "load")).steps is None


# -- data ------------------------------------------------------------------------------------------------------------


def transform(ran: Ran, name: str, loader: int = -1) -> Transform:
    found: Transform = ran.of(name, "loader")[loader].transform
    return found


@pytest.mark.parametrize("name", ["augmented", "augmented v2", "set afterwards", "wrapped", "exchanged"])
def test_crops_and_flips_are_seen_in_pixels(ran: Ran, name: str) -> None:
    found = transform(ran, name)
    assert found.augments
    assert (found.max_shift, found.other) == (4, False)
    assert found.normalisation is not None
    assert found.normalisation.mean == pytest.approx((0.5, 0.4, 0.3), abs=1e-3)
    assert found.normalisation.std == pytest.approx((0.2, 0.25, 0.3), abs=1e-3)


def test_other_transforms_are_not_taken_for_crops_and_flips(ran: Ran) -> None:
    assert not transform(ran, "exchanged", 0).is_random
    assert (transform(ran, "small crop").max_shift, transform(ran, "small crop").augments) == (2, False)
    assert (transform(ran, "flipped always").always_flipped, transform(ran, "flipped always").augments) == (True, False)
    assert (transform(ran, "rotated").other, transform(ran, "rotated").augments) == (True, False)
    assert not transform(ran, "no tensor").tensor
    assert transform(ran, "raising transform").error == "RuntimeError: no such image"


def test_augmentation_in_the_loop_is_seen_where_the_net_is_fed(ran: Ran) -> None:
    fed = only(ran.of("augmented in the loop", "input"))
    assert fed.split == "train"
    assert fed.seen.augments
    assert only(ran.of("modes", "input")[:1]).seen.is_random is False


def test_shuffling_whatever_the_sampler(ran: Ran) -> None:
    shuffled = [loader.shuffled for loader in ran.of("samplers", "loader")]
    assert shuffled == [True, False, True, True, True, True, False]


def test_split_of_the_course_s_size_is_scaled(ran: Ran) -> None:
    assert ran.printed("split").split() == ["456", "56"]
    assert only(ran.of("split", "loader")).split == "train"
