"""Runs put together from events: what each training in a notebook really was."""

from __future__ import annotations

import time
from typing import Any

import pytest

from grader.evidence.runs import MAX_RUNS, Run, build_runs, validation_loaders
from grader.execution.trace_events import (
    DatasetEvent,
    InputEvent,
    LayerRecord,
    LoaderEvent,
    NetEvent,
    PassEvent,
    PenaltyEvent,
    PenaltyFit,
    StepEvent,
    Transform,
)

AUGMENTED = Transform(tensor=True, shifts=25, max_shift=4, flips=True)
PLAIN = Transform(tensor=True, shifts=1)


def step(net: int | None = 0, **fields: Any) -> StepEvent:
    usual = {
        "cell": 0,
        "fed": net,
        "optimizer": 0,
        "kind": "SGD",
        "lr": 0.01,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "covers": 1.0,
        "earlier_steps": 0,
        "images": 128,
        "training": True,
        "split": "train",
        "loader": 0,
        "loss": 2.3,
        "cross_entropy": 2.3,
        "loss_kind": "cross_entropy",
        "loss_fed": "logits",
        "fresh_gradients": True,
    }
    return StepEvent(event="step", net=net, **(usual | fields))


def net(number: int, *kinds: str, output: tuple[int, ...] = (2, 10)) -> NetEvent:
    types = {"conv": "Conv2d", "bn": "BatchNorm2d", "linear": "Linear", "relu": "ReLU"}
    layers = tuple(LayerRecord(type=types[kind], weight=(8, 3, 5, 5)) for kind in kinds)
    return NetEvent(
        event="net",
        cell=0,
        net=number,
        cls="Net",
        origin="called",
        layers=layers,
        used=1,
        unused=0,
        copied=True,
        output=output,
    )


def loader(
    number: int, split: str | None = "train", size: int = 512, transform: Transform | None = PLAIN
) -> LoaderEvent:
    return LoaderEvent(
        event="loader",
        cell=0,
        loader=number,
        split=split,
        batch_size=128,
        shuffled=True,
        size=size,
        transform=transform,
    )


def over(number: int, split: str | None = "val", nets: tuple[int, ...] = (0,)) -> PassEvent:
    return PassEvent(
        event="pass", cell=0, loader=number, split=split, batches=2, nets=nets, training=False, grad=False, steps=0
    )


def penalty(number: int, value: float) -> PenaltyEvent:
    fit = PenaltyFit(coefficient=1e-4, unexplained=0.0)
    return PenaltyEvent(event="penalty", cell=0, net=number, value=value, gradient_norm=1.0, l1=fit, l2=fit)


def runs(*events: Any, cells: tuple[int, ...] = (3, 5, 8), **architectures: frozenset[str]) -> tuple[Run, ...]:
    return build_runs(events, {int(k[1:]): v for k, v in architectures.items()}, cells)


def only(*events: Any, **architectures: frozenset[str]) -> Run:
    (run,) = runs(*events, **architectures)
    return run


def test_no_step_is_no_run() -> None:
    assert runs(loader(0), over(0)) == ()


def test_the_steps_of_one_optimizer_on_one_net_are_one_run() -> None:
    run = only(step(), step(cell=1, earlier_steps=1), over(1), step(earlier_steps=2))
    assert (run.net, run.steps, run.earlier_steps, run.cells) == (0, 3, 0, (3, 5))
    assert run.describe() == "cell 4: 3 steps of SGD with lr=0.01, momentum=0.9, weight_decay=0.0001"


def test_runs_stand_in_the_order_of_their_first_steps() -> None:
    found = runs(step(4), step(2, optimizer=1), step(4), step(3, optimizer=2))
    assert [run.net for run in found] == [4, 2, 3]


@pytest.mark.parametrize("change", [{"optimizer": 1}, {"weight_decay": 0.0}, {"net": 1, "fed": 1}])
def test_another_optimizer_weight_decay_or_net_is_another_run(change: dict[str, Any]) -> None:
    fields = dict(change)
    other = step(fields.pop("net", 0), **fields)
    assert len(runs(step(), step(), other)) == 2


def test_rates_are_those_that_came_into_force() -> None:
    run = only(*(step(lr=lr) for lr in (0.1, 0.1, 0.05, 0.05, 0.1, 0.01)))
    assert run.rates == (0.1, 0.05, 0.1, 0.01)
    assert run.rate == 0.1
    assert run.decays
    assert "lr=0.1, 0.05, 0.1, 0.01," in run.describe()


def test_many_rates_are_cut_short_in_words() -> None:
    assert "lr=1, 0.9, 0.8, 0.7, ...," in only(*(step(lr=1 - k / 10) for k in range(9))).describe()


@pytest.mark.parametrize(
    ("rates", "decays"),
    [([0.1, 0.1], False), ([0.01, 0.1], False), ([0.1, 0.0999999], False), ([0.1, 0.2, 0.15], True)],
)
def test_a_rate_that_falls_decays(rates: list[float], decays: bool) -> None:
    assert only(*(step(lr=lr) for lr in rates)).decays == decays


def test_a_cell_that_is_not_known_has_no_number() -> None:
    assert only(step(cell=-1), step(cell=9)).cells == ()
    assert only(step(cell=-1)).where == "a cell"


def test_shares_are_of_all_steps() -> None:
    run = only(step(), step(training=False), step(fresh_gradients=False), step(fresh_gradients=None))
    assert (run.in_train_mode, run.zeroed) == (0.75, 0.75)


def test_splits_of_the_images() -> None:
    assert only(step(), step(split="test", loader=2), step(split=None, loader=None)).splits == {"train", "test", None}


def test_losses_are_of_full_batches_and_numbers() -> None:
    run = only(step(images=2, cross_entropy=7.0), step(cross_entropy=2.2), step(cross_entropy=None, loss=None))
    assert (run.first_loss, run.losses) == (7.0, (2.2,))


def test_where_the_loss_function_gave_no_single_number_what_was_minimised_counts() -> None:
    run = only(step(cross_entropy=None, loss=2.4), step(cross_entropy=2.2, loss=2.9))
    assert (run.first_loss, run.losses) == (2.4, (2.4, 2.2))


def test_the_architecture_is_that_of_the_net() -> None:
    run = only(net(0, "conv", "bn"), step(), n0=frozenset({"simplenn_bn"}))
    assert run.is_any("simplenn", "simplenn_bn")
    assert not run.is_any("simplenn")


@pytest.mark.parametrize(
    ("kinds", "has_bn"),
    [
        (("conv", "bn", "relu", "conv", "bn", "linear"), True),
        (("conv", "relu", "bn", "conv", "relu", "bn"), True),
        (("conv", "bn", "conv"), True),
        (("bn", "conv"), True),
        (("conv", "relu", "conv"), False),
        (("linear",), False),
        ((), False),
    ],
)
def test_bn_is_executed(kinds: tuple[str, ...], has_bn: bool) -> None:
    assert only(net(0, *kinds), step()).has_bn == has_bn


# -- which net is trained ---------------------------------------------------------------------------------------------


def test_parameters_of_no_one_net_are_those_of_the_net_that_was_called() -> None:
    run = only(net(7, "conv"), step(None, fed=7, covers=0.0), n7=frozenset({"simplenn"}))
    assert (run.net, run.covers, run.architectures) == (7, 1.0, {"simplenn"})
    assert run.updates_called_net


def test_a_step_without_any_net() -> None:
    run = only(step(None, fed=None, earlier_steps=None))
    assert (run.net, run.earlier_steps, run.layers) == (None, 0, ())


def test_the_optimizer_of_an_old_net_misses_the_one_that_is_called() -> None:
    both = (net(0, "conv"), net(1, "conv"))
    stale = runs(*both, step(0), step(0, fed=1, earlier_steps=1))
    assert [run.updates_called_net for run in stale] == [True, False]


def test_no_gradients_no_update() -> None:
    parts = (net(0, "conv", output=(2, 64)), net(1, "linear"))
    assert only(*parts, step(0, fed=1)).updates_called_net
    assert not only(*parts, step(0, fed=1, has_gradients=False)).updates_called_net


def test_parameters_of_a_net_that_is_gone() -> None:
    run = only(net(1, "conv"), step(None, fed=1, has_gradients=False))
    assert not run.updates_called_net


# -- images, validation, penalty --------------------------------------------------------------------------------------


def fed(number: int, images_of: int, seen: Transform | None) -> InputEvent:
    return InputEvent(
        event="input",
        cell=0,
        net=number,
        split="train",
        loader=images_of,
        shape=(128, 3, 32, 32),
        dtype="float32",
        mean=None,
        std=None,
        low=None,
        high=None,
        steps=0,
        device="cpu",
        seen=seen,
    )


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((loader(0, transform=AUGMENTED), step()), AUGMENTED),
        ((loader(0), fed(0, 0, AUGMENTED), step()), AUGMENTED),
        ((loader(0, transform=AUGMENTED), fed(0, 0, PLAIN), step()), AUGMENTED),
        ((loader(0), fed(5, 0, AUGMENTED), fed(0, 0, None), step()), AUGMENTED),
        ((loader(0), loader(1, transform=AUGMENTED), step(loader=1), step(), step()), PLAIN),
        ((loader(0), fed(0, 1, AUGMENTED), step()), PLAIN),
        ((step(),), None),
        ((step(loader=None),), None),
    ],
)
def test_the_transform_is_that_of_most_steps_wherever_it_happened(events: tuple[Any, ...], expected: Any) -> None:
    assert only(*events).transform == expected


def test_validations_are_those_of_the_net_until_the_next_run() -> None:
    val = (loader(0), loader(1, "val", 200))
    first, second = runs(
        *val, over(1), step(), over(1), over(1, nets=(9,)), step(), over(1), step(2, optimizer=1), over(1)
    )
    assert (len(first.validations), len(second.validations)) == (2, 0)


def dataset(split: str = "train", size: int = 512) -> DatasetEvent:
    return DatasetEvent(event="dataset", cell=0, split=split, transform="", size=size)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([loader(0), loader(1, "val", 200)], {1}),
        ([dataset(), loader(0, size=400), loader(1, size=112), step()], {1}),
        ([dataset(), loader(0), loader(1), step()], set()),
        ([dataset(), loader(0, size=400), loader(1, size=200), step()], set()),
        ([dataset(), loader(0, size=400), loader(1, size=112)], set()),
        ([loader(0, "test"), loader(1, None)], set()),
        ([], set()),
    ],
)
def test_loaders_of_validation_images(events: list[Any], expected: set[int]) -> None:
    assert validation_loaders(events) == expected


def test_the_penalty_is_the_last_one_seen_in_the_run() -> None:
    run, other = runs(
        penalty(0, 1.0),
        step(),
        penalty(0, 2.0),
        step(),
        penalty(0, 9.0),
        step(0, optimizer=1),
        penalty(3, 8.0),
        step(0, optimizer=1),
    )
    assert run.penalty is not None
    assert run.penalty.value == 2.0
    assert other.penalty is not None
    assert other.penalty.value == 9.0


def test_a_run_without_penalty() -> None:
    first, second = runs(penalty(0, 1.0), step(), step(1, optimizer=1))
    assert first.penalty is not None
    assert second.penalty is None


def test_a_trace_that_is_all_optimizers_takes_no_longer() -> None:
    events = [step(k, optimizer=k) for k in range(20_000)]
    started = time.process_time()
    assert len(build_runs(events, {}, ())) == MAX_RUNS
    assert time.process_time() - started < 5.0
