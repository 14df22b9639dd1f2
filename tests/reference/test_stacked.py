"""Nets that train together: the same functions, statistics, gradients and runs as each net alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from reference.models import ResNet20, SimpleNN, Swish
from reference.stacked import stackable, stacked_logits
from reference.training import History, Recipe, Splits, seeded, train, train_together


def plain() -> nn.Module:
    return SimpleNN()


def with_bn() -> nn.Module:
    return SimpleNN(batch_norm=True)


KINDS = pytest.mark.parametrize("make_net", [plain, with_bn])
RATES = [Recipe(epochs=2, batch_size=64, augment=True, lr=lr) for lr in (0.05, 0.01, 0.001)]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def splits() -> Splits:
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(0, 10, (count,), generator=generator)
        images = torch.randint(0, 120, (count, 32, 32, 3), generator=generator, dtype=torch.uint8)
        images[torch.arange(count), labels * 3] += 120
        return images, labels

    return Splits(*draw(300), *draw(100))


def nets_of(make_net: Callable[[], nn.Module], count: int = 3) -> list[nn.Module]:
    return [seeded(make_net, seed) for seed in range(count)]


@KINDS
@pytest.mark.parametrize("count", [1, 3])
def test_stacked_logits_and_gradients_are_those_of_each_net(make_net: Callable[[], nn.Module], count: int) -> None:
    x = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    stacked, alone = nets_of(make_net, count), nets_of(make_net, count)
    logits = stacked_logits(stacked, x)
    expected = torch.stack([net(x) for net in alone])
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    logits.square().sum().backward()
    expected.square().sum().backward()
    for mine, theirs in zip(stacked, alone, strict=True):
        for (name, parameter), other in zip(mine.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, other.grad, atol=1e-4, rtol=1e-3, msg=name)


def test_running_statistics_move_as_in_each_net_alone_and_are_used_in_evaluation() -> None:
    x = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    stacked, alone = nets_of(with_bn), nets_of(with_bn)
    stacked_logits(stacked, x)
    for net in alone:
        net(x)
    for mine, theirs in zip(stacked, alone, strict=True):
        for (name, buffer), other in zip(mine.named_buffers(), theirs.buffers(), strict=True):
            torch.testing.assert_close(buffer, other, msg=name)
    before = [buffer.clone() for net in stacked for buffer in net.buffers()]
    logits = stacked_logits([net.eval() for net in stacked], x)
    torch.testing.assert_close(logits, torch.stack([net.eval()(x) for net in alone]), atol=1e-5, rtol=1e-4)
    assert all(map(torch.equal, before, (buffer for net in stacked for buffer in net.buffers())))


def test_what_can_be_stacked() -> None:
    assert stackable([SimpleNN(), SimpleNN()])
    assert not stackable([SimpleNN(), SimpleNN(batch_norm=True)])
    assert not stackable([SimpleNN(batch_norm=True, activation=Swish)])
    assert not stackable([ResNet20()])
    assert not stackable([SimpleNN(), SimpleNN().eval()])


@KINDS
def test_nets_trained_together_end_as_if_trained_alone(make_net: Callable[[], nn.Module], splits: Splits) -> None:
    together, alone = [seeded(make_net, 0) for _ in RATES], [seeded(make_net, 0) for _ in RATES]
    histories = train_together(together, splits, RATES)
    for net, other, recipe, history in zip(together, alone, RATES, histories, strict=True):
        expected = train(other, splits, recipe)
        assert history.train_loss == pytest.approx(expected.train_loss, rel=1e-3)
        assert history.initial_loss == pytest.approx(expected.initial_loss, rel=1e-5)
        assert history.lr == expected.lr
        for parameter, theirs in zip(net.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(parameter, theirs, atol=2e-3, rtol=1e-2)
    assert histories[0].train_loss != histories[1].train_loss


def test_penalties_and_decay_stay_with_their_net(splits: Splits) -> None:
    base = Recipe(epochs=2, batch_size=300, lr=0.05, weight_decay=0.0)
    recipes = [base, replace(base, l1=0.01), replace(base, weight_decay=0.5), replace(base, decay_epochs=1)]
    nets = [seeded(plain, 0) for _ in recipes]
    histories = train_together(nets, splits, recipes)
    sums = [sum(parameter.abs().sum().item() for parameter in net.parameters()) for net in nets]
    assert sums[1] < 0.99 * sums[0]
    assert sums[2] < 0.99 * sums[0]
    assert histories[3].lr == pytest.approx([0.05, 0.005])
    assert histories[0].lr == [0.05, 0.05]


def test_a_net_that_diverges_leaves_the_others_alone(splits: Splits) -> None:
    recipes = [replace(RATES[0], lr=lr) for lr in (1e6, 0.01)]
    nets = [seeded(plain, 0) for _ in recipes]
    histories = train_together(nets, splits, recipes)
    alone = train(seeded(plain, 0), splits, recipes[1])
    assert not torch.isfinite(torch.cat([parameter.flatten() for parameter in nets[0].parameters()])).all()
    assert histories[1].val_loss == pytest.approx(alone.val_loss, rel=1e-3)


def test_nets_of_other_kinds_train_together_too(splits: Splits) -> None:
    recipes = [replace(RATES[0], epochs=1), replace(RATES[1], epochs=1)]
    histories = train_together([SimpleNN(), SimpleNN(activation=Swish)], splits, recipes)
    assert [history.epochs for history in histories] == [1, 1]


@pytest.mark.parametrize("change", [{"seed": 1}, {"augment": False}, {"batch_size": 32}, {"bfloat16": True}])
def test_recipes_that_differ_in_what_is_shared_are_refused(splits: Splits, change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"expected recipes that differ in lr, momentum, .* alone"):
        train_together([SimpleNN(), SimpleNN()], splits, [RATES[0], replace(RATES[0], **change)])  # type: ignore[arg-type]


def test_a_resumed_group_equals_an_uninterrupted_one(splits: Splits, tmp_path: Path) -> None:
    whole = [seeded(with_bn, 0) for _ in RATES]
    expected = train_together(whole, splits, RATES)

    def kill_after_the_first_epoch(_: list[History]) -> None:
        raise KeyboardInterrupt

    places = [tmp_path / f"{number}.pth" for number in range(3)]
    state = tmp_path / "group.state"
    with pytest.raises(KeyboardInterrupt):
        train_together(
            [seeded(with_bn, 0) for _ in RATES],
            splits,
            RATES,
            checkpoints_at=places,
            state_at=state,
            on_epoch=kill_after_the_first_epoch,
        )
    resumed = [with_bn() for _ in RATES]
    histories = train_together(resumed, splits, RATES, checkpoints_at=places, state_at=state, resume=True)
    for net, other in zip(resumed, whole, strict=True):
        for value, wanted in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(value, wanted)
    assert [replace(history, seconds=0) for history in histories] == [
        replace(history, seconds=0) for history in expected
    ]
    assert all(path.is_file() for path in places)


def test_resuming_another_group_says_what_differs(splits: Splits, tmp_path: Path) -> None:
    state = tmp_path / "group.state"
    train_together([SimpleNN(), SimpleNN()], splits, RATES[:2], state_at=state)
    with pytest.raises(ValueError, match=r"group\.state: expected the state of a run with 3 nets, found 2"):
        train_together([SimpleNN() for _ in RATES], splits, RATES, state_at=state, resume=True)
    others = [RATES[0], replace(RATES[1], lr=0.5)]
    with pytest.raises(ValueError, match=r"group\.state: expected the state of a run with lr=0\.5, found lr=0\.01"):
        train_together([SimpleNN(), SimpleNN()], splits, others, state_at=state, resume=True)
