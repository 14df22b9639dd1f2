"""What the trace says of what outlives a step: schedules, held graphs, penalties, averages of weights."""

from __future__ import annotations

import pytest
from keeping_scenarios import CELLS
from notebook_runs import Given, Ran, run_given

from grader.execution.world import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(world: World, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_given({"scenes": Given(CELLS)}, tmp_path_factory.mktemp("keeping"), world)["scenes"]


@pytest.mark.parametrize("name", CELLS)
def test_scene_runs_as_it_would_without_a_trace(ran: Ran, name: str) -> None:
    result = ran.result(name)
    assert (result["status"], result["error"]) == ("ok", "")


def test_no_hook_fails(ran: Ran) -> None:
    assert [event for event in ran.events if event.event == "fault"] == []


def test_a_scheduler_is_known_by_its_optimizer_and_the_times_it_was_stepped(ran: Ran) -> None:
    events = ran.of("schedulers", "scheduler")
    optimizer = ran.of("schedulers", "step")[-1].optimizer
    assert [(e.kind, e.steps, e.optimizer) for e in events] == [
        ("StepLR", 0, optimizer),
        ("Halving", 0, optimizer),
        ("Halving", 1, optimizer),
        ("Halving", 2, optimizer),
    ]
    assert [e.lr for e in events] == [0.1, 0.1, 0.05, 0.025]


def test_schedulers_of_every_kind_are_seen(ran: Ran) -> None:
    last = {e.scheduler: (e.kind, e.steps) for e in ran.of("plateau and chain", "scheduler")}
    kinds = {kind for kind, _ in last.values()}
    assert kinds == {"ReduceLROnPlateau", "SequentialLR", "ConstantLR", "ExponentialLR"}
    assert {("ReduceLROnPlateau", 1), ("SequentialLR", 2)} <= set(last.values())


def test_losses_kept_with_their_graphs_are_counted(ran: Ran) -> None:
    kept = [event.kept_graphs for event in ran.of("loss added up with its graph", "step")]
    assert kept == list(range(len(kept)))
    assert len(kept) > 3
    assert {event.kept_graphs for event in ran.of("loss added up as a number", "step")} == {0}


def test_a_penalty_by_a_loss_of_torchs_is_no_loss_of_the_net(ran: Ran) -> None:
    last = ran.of("penalty by a loss of torch's", "step")[-1]
    assert (last.loss_kind, last.loss_fed) == ("cross_entropy", "logits")
    found = ran.of("penalty by a loss of torch's", "penalty")[-1]
    assert found.l1.coefficient == pytest.approx(1e-3, rel=0.01)
    assert found.l1.unexplained < 0.05


def test_an_average_has_changed_without_steps_and_an_untouched_net_has_not(ran: Ran) -> None:
    average, untouched = ran.of("average saved", "save")
    assert (average.steps, average.changed) == (0, True)
    assert (untouched.steps, untouched.changed) == (0, False)
