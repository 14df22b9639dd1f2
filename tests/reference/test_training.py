"""The training pipeline: preprocessing, schedules, penalties, checkpoints, resuming, seeds."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import transforms

from reference import checkpoints
from reference.evaluation import predict_logits
from reference.models import ResNet20, SimpleNN
from reference.preprocessing import MEAN, STD, augment, crop_and_flip, normalise
from reference.training import (
    History,
    Recipe,
    Splits,
    choose_device,
    evaluate,
    initial_loss,
    l1_norm,
    learning_rate,
    plain_weights,
    predict,
    seeded,
    train,
)


def striped(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noisy images whose class is the place of a bright horizontal stripe; labels in 0..9."""
    labels = torch.randint(0, 10, (count,), generator=generator)
    images = torch.randint(0, 120, (count, 32, 32, 3), generator=generator, dtype=torch.uint8)
    for row in range(3):
        images[torch.arange(count), labels * 3 + row] += 120
    return images, labels


@pytest.fixture(scope="module")
def splits() -> Splits:
    generator = torch.Generator().manual_seed(0)
    return Splits(*striped(640, generator), *striped(200, generator))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def parameters(net: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])


# Preprocessing


def test_normalise_scales_each_channel() -> None:
    images = torch.tensor([0, 128, 255], dtype=torch.uint8).expand(2, 32, 32, 3)
    expected = [(pixel / 255 - mean) / std for pixel, mean, std in zip((0, 128, 255), MEAN, STD, strict=True)]
    assert normalise(images).shape == (2, 3, 32, 32)
    torch.testing.assert_close(normalise(images)[1, :, 5, 7], torch.tensor(expected))


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 32, 32, 3), torch.zeros(2, 3, 32, 32, dtype=torch.uint8)], ids=["float", "channels-first"]
)
def test_normalise_refuses_other_images(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"images: expected uint8 \(N, H, W, 3\), found torch\."):
        normalise(images)


def test_crop_and_flip_equals_a_naive_crop_at_every_offset() -> None:
    image = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    padded = torch.zeros(40, 40, 3, dtype=torch.uint8)
    padded[4:36, 4:36] = image
    cases = [(row, column, flip) for row in range(9) for column in range(9) for flip in (False, True)]
    naive = [padded[row : row + 32, column : column + 32] for row, column, _ in cases]
    naive = [crop.flip(1) if flip else crop for crop, (_, _, flip) in zip(naive, cases, strict=True)]
    rows, columns, flipped = (torch.tensor(values) for values in zip(*cases, strict=True))
    result = crop_and_flip(image.expand(len(cases), 32, 32, 3), rows, columns, flipped)
    assert torch.equal(result, torch.stack(naive))


def test_augment_draws_every_offset_and_both_flips_alike() -> None:
    # Each pixel tells its own row and column, so offset and flip can be read off the centre of the augmented image.
    image = torch.zeros(32, 32, 3, dtype=torch.uint8)
    image[..., 0] = torch.arange(32)[:, None]
    image[..., 1] = torch.arange(32)
    count = 16_200
    result = augment(image.expand(count, 32, 32, 3), torch.Generator().manual_seed(0)).int()
    flipped = result[:, 16, 17, 1] < result[:, 16, 16, 1]
    rows = result[:, 16, 16, 0] - 16 + 4
    columns = torch.where(flipped, result[:, 16, 15, 1], result[:, 16, 16, 1]) - 16 + 4
    counts = torch.bincount(rows * 9 + columns, minlength=81)
    assert len(counts) == 81
    # 200 expected in each of 81 cells; the chi-square statistic with 80 degrees of freedom exceeds 125 once in 1000.
    assert ((counts - 200) ** 2 / 200).sum() < 125
    assert abs(flipped.float().mean().item() - 0.5) < 0.015


def test_augmentation_differs_between_images_of_a_batch() -> None:
    image = torch.arange(32, dtype=torch.uint8)[None, :, None].expand(32, 32, 3)
    result = augment(image.expand(64, 32, 32, 3), torch.Generator().manual_seed(0))
    assert len({bytes(one.numpy().tobytes()) for one in result}) > 10


def test_every_crop_and_flip_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=generator)
    drawn: list[tuple[int, int, bool]] = [
        (row, column, flip) for row in range(9) for column in range(9) for flip in (False, True)
    ]
    rows, columns, flipped = (torch.tensor(values) for values in zip(*drawn, strict=True))
    ours = normalise(crop_and_flip(image.expand(len(drawn), 32, 32, 3), rows, columns, flipped))
    for (row, column, flip), mine in zip(drawn, ours, strict=True):
        monkeypatch.setattr(transforms.RandomCrop, "get_params", lambda *_, at=(row, column): (*at, 32, 32))
        theirs = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(float(flip)),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )(Image.fromarray(image.numpy()))
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_torchvision_draws_its_offsets_and_flips_as_augment_does() -> None:
    image = Image.new("RGB", (40, 40))
    torch.manual_seed(0)
    corners = [transforms.RandomCrop.get_params(image, (32, 32))[:2] for _ in range(16_200)]
    counts = torch.bincount(torch.tensor([row * 9 + column for row, column in corners]), minlength=81)
    assert len(counts) == 81
    assert ((counts - 200) ** 2 / 200).sum() < 125  # as in the test of our own draws


# Learning rate


def test_step_decay_multiplies_after_every_period() -> None:
    recipe = Recipe(epochs=7, lr=0.1, decay_epochs=3, decay=0.5)
    rates = [learning_rate(recipe, epoch, epoch / 7) for epoch in range(7)]
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025])


def test_no_decay_keeps_the_learning_rate() -> None:
    assert {learning_rate(Recipe(), epoch, epoch / 30) for epoch in range(30)} == {0.01}


def test_one_cycle_rises_to_the_rate_and_falls_to_zero() -> None:
    recipe = Recipe(lr=0.4, schedule="one_cycle")
    rates = [learning_rate(recipe, 0, progress) for progress in (0.0, 0.125, 0.25, 0.625, 1.0)]
    assert rates == pytest.approx([0.0, 0.2, 0.4, 0.2, 0.0])


def test_the_optimizer_steps_with_the_rate_of_the_schedule(splits: Splits) -> None:
    recipe = Recipe(epochs=4, batch_size=320, decay_epochs=2, decay=0.1)
    history = train(SimpleNN(), splits, recipe)
    assert history.lr == pytest.approx([0.01, 0.01, 0.001, 0.001])
    stopped, short = seeded(SimpleNN, 0), seeded(SimpleNN, 0)
    train(stopped, splits, replace(recipe, decay=0.0))
    train(short, splits, replace(recipe, epochs=2))
    assert torch.equal(parameters(stopped), parameters(short))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, found 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, found 0"),
        ({"decay_epochs": 0}, "decay_epochs must be at least 1, found 0"),
        ({"average": 1.0}, "average must be at least 0 and below 1, found 1.0"),
        ({"schedule": "cosine"}, "schedule must be 'step' or 'one_cycle', found 'cosine'"),
        ({"schedule": "one_cycle", "decay_epochs": 3}, "decay_epochs belongs to schedule='step'"),
    ],
)
def test_recipe_refuses_values_that_make_no_sense(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**values)  # type: ignore[arg-type]


# L1 penalty, label smoothing


def test_l1_gradient_is_the_sign_of_weights_and_nothing_on_biases_and_bn() -> None:
    net = SimpleNN(batch_norm=True)
    (0.003 * l1_norm(net)).backward()
    for name, parameter in net.named_parameters():
        if name.endswith("weight") and not name.startswith("bn"):
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, 0.003 * parameter.detach().sign())
        else:
            assert parameter.grad is None, name


def test_one_step_with_l1_differs_by_the_penalty_alone(splits: Splits) -> None:
    recipe = Recipe(epochs=1, batch_size=640, lr=0.1, weight_decay=0.0)
    plain, penalised = seeded(SimpleNN, 0), seeded(SimpleNN, 0)
    start = seeded(SimpleNN, 0)
    train(plain, splits, recipe)
    train(penalised, splits, replace(recipe, l1=0.01))
    for (name, before), after, other in zip(
        start.named_parameters(), penalised.parameters(), plain.parameters(), strict=True
    ):
        expected = -0.1 * 0.01 * before.sign() if name.endswith("weight") else torch.zeros_like(before)
        torch.testing.assert_close((after - other).detach(), expected.detach(), atol=1e-6, rtol=0)


def test_label_smoothing_reaches_the_loss(splits: Splits) -> None:
    recipe = Recipe(epochs=1, batch_size=640, lr=0.0, label_smoothing=0.3)
    net = seeded(SimpleNN, 0)
    images, labels = normalise(splits.train_images), splits.train_labels
    expected = F.cross_entropy(net(images), labels, label_smoothing=0.3).item()
    assert train(net, splits, recipe).train_loss == pytest.approx([expected], rel=1e-4)


# Training


def test_training_learns_and_records_every_epoch(splits: Splits) -> None:
    epochs: list[int] = []
    recipe = Recipe(epochs=8, batch_size=32, lr=0.02)
    history = train(seeded(SimpleNN, 0), splits, recipe, on_epoch=lambda history: epochs.append(history.epochs))
    assert epochs == [1, 2, 3, 4, 5, 6, 7, 8]
    assert history.initial_loss == pytest.approx(2.302585, abs=0.05)
    assert history.train_loss[-1] < 0.5 * history.initial_loss
    assert history.best_val_accuracy > 0.8
    assert history.val_accuracy[history.best_epoch] == history.best_val_accuracy
    assert [len(column) for column in (history.train_loss, history.train_accuracy, history.val_loss)] == [8, 8, 8]
    assert history.seconds > 0


def test_a_seed_reproduces_a_run_and_another_does_not(splits: Splits) -> None:
    recipe = Recipe(epochs=1, augment=True)
    nets = [seeded(SimpleNN, 3) for _ in range(3)]
    histories = [train(net, splits, replace(recipe, seed=seed)) for net, seed in zip(nets, (3, 3, 4), strict=True)]
    assert torch.equal(parameters(nets[0]), parameters(nets[1]))
    assert histories[0].val_loss == histories[1].val_loss
    assert not torch.equal(parameters(nets[0]), parameters(nets[2]))


def test_seeded_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(parameters(seeded(SimpleNN, 0)), parameters(seeded(SimpleNN, 0)))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("switch", ["channels_last", "bfloat16", "nesterov"])
def test_recipe_switches_still_learn(splits: Splits, switch: str) -> None:
    recipe = replace(Recipe(epochs=6, batch_size=32, lr=0.02), **{switch: True})
    assert train(seeded(SimpleNN, 0), splits, recipe).best_val_accuracy > 0.6


def test_channels_last_changes_nothing_but_rounding(splits: Splits) -> None:
    recipe = Recipe(epochs=1)
    losses = [train(seeded(SimpleNN, 0), splits, replace(recipe, channels_last=c)).val_loss[0] for c in (False, True)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_compiled_run_equals_an_eager_one_but_for_rounding(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Eager(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            logits: Tensor = self.net(x)
            return logits

    def eager_backend(net: nn.Module, **_: object) -> nn.Module:
        return Eager(net)

    monkeypatch.setattr(torch, "compile", eager_backend)
    recipe = Recipe(epochs=1, batch_size=100)
    losses = [train(seeded(SimpleNN, 0), splits, replace(recipe, compiled=c)).train_loss[0] for c in (False, True)]
    assert sizes == [100] * 6  # the last batch, of 40 images, goes the other way: it would be compiled anew
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_averaged_weights_follow_the_recursion_and_are_what_is_validated(splits: Splits, tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, batch_size=640, lr=0.05, average=0.75)
    single = replace(recipe, average=0.0)
    steps = [seeded(SimpleNN, 0) for _ in range(3)]
    for count, net in enumerate(steps, start=1):  # one step an epoch: the weights after 1, 2 and 3 steps
        train(net, splits, replace(single, epochs=count))
    expected = parameters(steps[0])  # the average starts at the weights after the first step
    for net in steps[1:]:
        expected = 0.75 * expected + 0.25 * parameters(net)
    averaged = seeded(SimpleNN, 0)
    history = train(averaged, splits, recipe, checkpoint=tmp_path / "net.pth")
    torch.testing.assert_close(parameters(averaged), expected)
    loss, accuracy = evaluate(averaged, splits.val_images, splits.val_labels, recipe)
    assert (loss, accuracy) == (history.val_loss[-1], history.val_accuracy[-1])
    plain = SimpleNN()
    plain.load_state_dict(plain_weights(tmp_path / "net.pth.state"))
    torch.testing.assert_close(parameters(plain), parameters(steps[2]))


def test_a_resumed_averaged_run_equals_an_uninterrupted_one(splits: Splits, tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=64, average=0.9)
    whole = seeded(SimpleNN, 0)
    expected = train(whole, splits, recipe)

    def kill(_: History) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(seeded(SimpleNN, 0), splits, recipe, checkpoint=tmp_path / "net.pth", on_epoch=kill)
    resumed = SimpleNN()
    history = train(resumed, splits, recipe, checkpoint=tmp_path / "net.pth", resume=True)
    assert torch.equal(parameters(resumed), parameters(whole))
    assert history.val_loss == expected.val_loss


def test_flip_at_test_time_means_the_logits_of_both_images(splits: Splits) -> None:
    net = seeded(SimpleNN, 0).eval()
    images = splits.val_images[:50]
    expected = (net(normalise(images)) + net(normalise(images.flip(2)))) / 2
    logits = predict_logits([net], images, Recipe(flip_test=True))[0]
    torch.testing.assert_close(logits, expected.detach(), atol=1e-5, rtol=1e-4)
    assert torch.equal(predict(net, images, Recipe(flip_test=True)), expected.argmax(dim=1))


def test_initial_loss_of_a_bn_net_uses_batch_statistics_and_leaves_the_net_alone(splits: Splits) -> None:
    net = seeded(lambda: ResNet20(), 0)
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    images, labels = splits.val_images[:64], splits.val_labels[:64]
    loss = initial_loss(net.eval(), images, labels, Recipe())
    assert loss == pytest.approx(F.cross_entropy(net.train()(normalise(images)), labels).item(), rel=1e-4)
    net = seeded(lambda: ResNet20(), 0)
    initial_loss(net, images, labels, Recipe())
    assert all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())


def test_evaluate_and_predict_run_in_evaluation_mode_and_restore_the_mode(splits: Splits) -> None:
    net = seeded(lambda: SimpleNN(batch_norm=True), 0).train()
    loss, accuracy = evaluate(net, splits.val_images, splits.val_labels, Recipe())
    assert net.training
    labels = predict(net, splits.val_images)
    logits = net.eval()(normalise(splits.val_images))
    assert torch.equal(labels, logits.argmax(dim=1))
    assert labels.dtype == torch.int64
    assert loss == pytest.approx(F.cross_entropy(logits, splits.val_labels).item(), rel=1e-4)
    assert accuracy == pytest.approx((labels == splits.val_labels).float().mean().item())


# Splits and device


def test_splits_refuse_images_in_another_layout(splits: Splits) -> None:
    with pytest.raises(ValueError, match=r"val_images: expected uint8 \(200, 32, 32, 3\).*found torch.float32"):
        replace(splits, val_images=splits.val_images.float())
    with pytest.raises(ValueError, match=r"train_images: expected uint8 \(0, 32, 32, 3\).*at least one"):
        replace(splits, train_images=splits.train_images[:0], train_labels=splits.train_labels[:0])


def test_splits_refuse_labels_of_another_type(splits: Splits) -> None:
    with pytest.raises(ValueError, match=r"train_labels: expected int64 \(N,\), found torch.uint8"):
        replace(splits, train_labels=splits.train_labels.to(torch.uint8))


def test_choose_device() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="expected auto, cpu or cuda, found 'tpu'"):
        choose_device("tpu")


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="expected a GPU for 'cuda', found none"):
        choose_device("cuda")


# Checkpoints


def test_the_best_checkpoint_is_the_best_net(splits: Splits, tmp_path: Path) -> None:
    checkpoint = tmp_path / "saved_model" / "net.pth"
    recipe = Recipe(epochs=4, batch_size=64, lr=0.05, decay_epochs=2)
    history = train(seeded(SimpleNN, 0), splits, recipe, checkpoint=checkpoint)
    state = torch.load(checkpoint, weights_only=True)
    assert set(state) == {"state_dict", "epoch", "lr"}
    assert state["epoch"] == history.best_epoch
    assert state["lr"] == history.lr[history.best_epoch]
    net = SimpleNN()
    assert checkpoints.load_best(net, checkpoint) == history.best_epoch
    assert evaluate(net, splits.val_images, splits.val_labels, recipe)[1] == history.best_val_accuracy
    assert not list(checkpoint.parent.glob("*.part"))


def test_a_resumed_run_equals_an_uninterrupted_one(splits: Splits, tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, batch_size=64, augment=True, decay_epochs=2)
    whole = seeded(lambda: SimpleNN(batch_norm=True), 0)
    expected = train(whole, splits, recipe, checkpoint=tmp_path / "whole.pth")

    def kill_after_the_first_epoch(history: History) -> None:
        raise KeyboardInterrupt

    checkpoint = tmp_path / "net.pth"
    with pytest.raises(KeyboardInterrupt):
        train(
            seeded(lambda: SimpleNN(batch_norm=True), 0),
            splits,
            recipe,
            checkpoint=checkpoint,
            on_epoch=kill_after_the_first_epoch,
        )
    resumed = SimpleNN(batch_norm=True)
    history = train(resumed, splits, recipe, checkpoint=checkpoint, resume=True)
    assert torch.equal(parameters(resumed), parameters(whole))
    assert torch.equal(resumed.bn1.running_var, whole.get_buffer("bn1.running_var"))
    assert replace(history, seconds=0) == replace(expected, seconds=0)


def test_resuming_a_finished_run_trains_no_further(splits: Splits, tmp_path: Path) -> None:
    recipe = Recipe(epochs=1)
    first = train(SimpleNN(), splits, recipe, checkpoint=tmp_path / "net.pth")
    called: list[History] = []
    again = train(SimpleNN(), splits, recipe, checkpoint=tmp_path / "net.pth", resume=True, on_epoch=called.append)
    assert again == first
    assert called == []


def test_resuming_with_another_recipe_is_refused(splits: Splits, tmp_path: Path) -> None:
    train(SimpleNN(), splits, Recipe(epochs=1), checkpoint=tmp_path / "net.pth")
    with pytest.raises(ValueError, match=r"net\.pth\.state: expected the state of a run with epochs=2, found epochs=1"):
        train(SimpleNN(), splits, Recipe(epochs=2), checkpoint=tmp_path / "net.pth", resume=True)


def test_resuming_on_other_data_is_refused(splits: Splits, tmp_path: Path) -> None:
    train(SimpleNN(), splits, Recipe(epochs=1), checkpoint=tmp_path / "net.pth")
    others = replace(splits, train_labels=splits.train_labels.flip(0))
    with pytest.raises(ValueError, match=r"net\.pth\.state: expected .* these training labels, found one on others"):
        train(SimpleNN(), others, Recipe(epochs=1), checkpoint=tmp_path / "net.pth", resume=True)


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    net = SimpleNN()
    checkpoints.save_best(net, path, epoch=1, lr=0.1)
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        checkpoints.save_atomically({"state_dict": lambda: None}, path)
    assert checkpoints.load_best(net, path) == 1


def test_checkpoint_errors_name_the_file_and_what_was_found(tmp_path: Path) -> None:
    net = SimpleNN()
    with pytest.raises(ValueError, match=r"absent\.pth: expected a checkpoint .*found no such file"):
        checkpoints.load_best(net, tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(ValueError, match=r"text\.pth: expected a checkpoint .*found a file of 16 bytes"):
        checkpoints.load_best(net, tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth: expected a checkpoint with a dictionary, found list"):
        checkpoints.load_best(net, tmp_path / "list.pth")
    torch.save({"epoch": 1}, tmp_path / "keys.pth")
    with pytest.raises(ValueError, match=r"keys\.pth: .*missing lr, state_dict"):
        checkpoints.load_best(net, tmp_path / "keys.pth")
    checkpoints.save_best(ResNet20(), tmp_path / "resnet.pth", epoch=0, lr=0.1)
    with pytest.raises(ValueError, match=r"resnet\.pth: expected the weights of a SimpleNN, found others"):
        checkpoints.load_best(net, tmp_path / "resnet.pth")
