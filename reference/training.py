"""The training pipeline of all three labs: SGD on batches of uint8 images that stay in memory.

torch.manual_seed(0)
net = SimpleNN()
history = train(net, load_splits(Path("data")), Recipe(epochs=30), checkpoint=Path("saved_model/net.pth"))

Nets that differ in a few hyperparameters train together on the same batches: see `train_together`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reference import checkpoints
from reference.evaluation import Nets, evaluate, forward, initial_loss, predict, predict_logits, scores
from reference.preprocessing import draw_augmentation
from reference.recipe import Recipe, learning_rate
from reference.speed import choose_device
from reference.splits import Splits, checksum, load_splits

__all__ = [
    "History",
    "Recipe",
    "Splits",
    "choose_device",
    "evaluate",
    "initial_loss",
    "l1_norm",
    "learning_rate",
    "load_splits",
    "plain_weights",
    "predict",
    "seeded",
    "train",
    "train_together",
]

OWN = ("lr", "momentum", "nesterov", "weight_decay", "l1", "decay_epochs", "decay", "schedule")


@dataclass
class History:
    """One number per epoch; losses are means of cross-entropy per image (no L1 penalty), accuracies fractions.

    train_loss and train_accuracy are running means over the epoch, in training mode, on augmented images where the
    recipe augments. lr is the rate at the epoch's start. initial_loss is the loss before the first step (see
    `initial_loss`); seconds is wall time of training and validation, shared evenly among nets that train together.
    """

    initial_loss: float
    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def append(
        self, train_loss: float, train_accuracy: float, val_loss: float, val_accuracy: float, lr: float, seconds: float
    ) -> None:
        self.train_loss.append(train_loss)
        self.train_accuracy.append(train_accuracy)
        self.val_loss.append(val_loss)
        self.val_accuracy.append(val_accuracy)
        self.lr.append(lr)
        self.seconds += seconds

    @property
    def epochs(self) -> int:
        return len(self.lr)

    @property
    def best_val_accuracy(self) -> float:
        return max(self.val_accuracy)

    @property
    def best_epoch(self) -> int:
        """Epoch, from 0, of the best validation accuracy; the first, if several share it."""
        return self.val_accuracy.index(self.best_val_accuracy)


def seeded(make_net: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A fresh net whose initial weights depend on `seed` alone; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make_net()


def l1_norm(net: nn.Module) -> Tensor:
    """Sum of absolute values of all weights of convolutions and fully-connected layers; biases and BN are left out.

    Scalar. Its gradient with respect to a weight w is sign(w).
    """
    weights = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    return torch.stack([weight.abs().sum() for weight in weights]).sum()


@dataclass
class Group:
    """K nets that train together, with what changes as they do.

    `averages` hold the averaged weights where the recipes ask for them, else it is empty; `compiled` is the net as
    `torch.compile` made it, where the recipe asks for that.
    """

    nets: Nets
    recipes: Sequence[Recipe]
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    averages: list[AveragedModel]
    compiled: Nets | None = None

    @property
    def validated(self) -> Nets:
        """The nets that are validated and saved."""
        return [average.module for average in self.averages] or self.nets


def make_group(nets: Nets, recipes: Sequence[Recipe], device: torch.device) -> Group:
    """Move the nets to `device` and give each its own hyperparameters in one optimizer."""
    first = recipes[0]
    for net in nets:
        net.to(device)
        if first.channels_last:
            net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        [
            {"params": list(net.parameters()), "lr": recipe.lr, "momentum": recipe.momentum}
            | {"nesterov": recipe.nesterov, "weight_decay": recipe.weight_decay}
            for net, recipe in zip(nets, recipes, strict=True)
        ],
        fused=True,
    )
    mean = get_ema_multi_avg_fn(first.average)
    averages = [AveragedModel(net, multi_avg_fn=mean, use_buffers=True) for net in nets] if first.average else []
    generator = torch.Generator().manual_seed(first.seed)
    compiled = [cast(nn.Module, torch.compile(net, dynamic=False)) for net in nets] if first.compiled else None
    return Group(nets, recipes, optimizer, generator, averages, compiled)


def train_epoch(group: Group, splits: Splits, epoch: int) -> list[tuple[float, float]]:
    """One pass over the training images in random order. Returns each net's mean loss and accuracy over the epoch."""
    nets, recipes, optimizer = group.nets, group.recipes, group.optimizer
    first = recipes[0]
    for net in nets:
        net.train()
    count, device = len(splits.train_labels), splits.train_labels.device
    order = torch.randperm(count, generator=group.generator).to(device)
    augmentation = draw_augmentation(count, group.generator, device) if first.augment else None
    loss_sum, correct = torch.zeros(len(nets), device=device), torch.zeros(len(nets), device=device)
    for start in range(0, count, first.batch_size):
        part = slice(start, start + first.batch_size)
        images, labels = splits.train_images[order[part]], splits.train_labels[order[part]]
        if augmentation is not None:
            images = augmentation.of(part, images)
        progress = (epoch + (start + len(labels) / 2) / count) / first.epochs
        for param_group, recipe in zip(optimizer.param_groups, recipes, strict=True):
            param_group["lr"] = learning_rate(recipe, epoch, progress)
        # A compiled net is compiled for one batch size; the last batch of an epoch is smaller.
        whole = len(labels) == first.batch_size
        logits = forward(group.compiled if group.compiled and whole else nets, images, first)  # (K, N, 10)
        losses = each_loss(logits, labels, first.label_smoothing)  # (K,)
        penalties = [recipe.l1 * l1_norm(net) for net, recipe in zip(nets, recipes, strict=True) if recipe.l1]
        optimizer.zero_grad()
        # The gradient of a sum gives each net the gradient of its own loss.
        torch.stack([losses.sum(), *penalties]).sum().backward()
        optimizer.step()
        for net, average in zip(nets, group.averages, strict=False):
            average.update_parameters(net)
        loss_sum += losses.detach() * len(labels)
        correct += (logits.detach().argmax(dim=2) == labels).sum(dim=1)
    return list(zip((loss_sum / count).tolist(), (correct / count).tolist(), strict=True))


def each_loss(logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Mean cross-entropy of each net: logits (K, N, 10), labels int64 (N,) -> (K,)."""
    count = len(logits)
    losses = F.cross_entropy(
        logits.flatten(0, 1), labels.repeat(count), reduction="none", label_smoothing=label_smoothing
    )
    return losses.view(count, -1).mean(dim=1)


def state_path(checkpoint: Path) -> Path:
    """Where `train` keeps what it needs to go on after a kill: beside the best checkpoint, as NAME.state."""
    return checkpoint.with_name(checkpoint.name + ".state")


def train(
    net: nn.Module,
    splits: Splits,
    recipe: Recipe,
    *,
    on_epoch: Callable[[History], None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    device: str = "auto",
) -> History:
    """Train `net` in place by SGD and validate it after every epoch.

    `on_epoch` is called after every epoch with the history so far. With `checkpoint`, the net of the best validation
    accuracy is kept there as {"state_dict", "epoch", "lr"}, and the whole state of the run beside it, after every
    epoch; `resume=True` then goes on from that state, where there is one, to the result of an uninterrupted run.
    `device` is auto, cpu or cuda.

    Returns the history; `net` holds the weights of the last epoch (their average, where the recipe asks for it), on the
    device that trained. Raises ValueError for a device that is not there, or a state to resume that belongs to another
    recipe or other training labels.
    """
    (history,) = train_together(
        [net],
        splits,
        [recipe],
        on_epoch=None if on_epoch is None else lambda histories: on_epoch(histories[0]),
        checkpoints_at=None if checkpoint is None else [checkpoint],
        state_at=None if checkpoint is None else state_path(checkpoint),
        resume=resume,
        device=device,
    )
    return history


def train_together(
    nets: Nets,
    splits: Splits,
    recipes: Sequence[Recipe],
    *,
    on_epoch: Callable[[list[History]], None] | None = None,
    checkpoints_at: Sequence[Path] | None = None,
    state_at: Path | None = None,
    resume: bool = False,
    device: str = "auto",
) -> list[History]:
    """`train` for K nets at once, on the same batches with the same augmentation; each ends as if trained alone.

    The recipes may differ in what OWN names. A net's best checkpoint goes to its place in `checkpoints_at`, the state
    of all to `state_at`. Raises ValueError for recipes that differ in anything else, and as `train` does.
    """
    if len({shared(recipe) for recipe in recipes}) != 1:
        raise ValueError(f"nets that train together: expected recipes that differ in {', '.join(OWN)} alone")
    place = choose_device(device)
    splits = splits.to(place)
    group = make_group(nets, recipes, place)
    if resume and state_at is not None and state_at.exists():
        histories = restore_state(state_at, group, splits)
    else:
        images, labels = splits.val_images, splits.val_labels
        histories = [
            History(initial_loss(net, images, labels, recipe)) for net, recipe in zip(nets, recipes, strict=True)
        ]
    for epoch in range(histories[0].epochs, recipes[0].epochs):
        run_epoch(group, splits, epoch, histories)
        for number, history in enumerate(histories):
            if checkpoints_at is not None and history.best_epoch == epoch:
                net = group.validated[number]
                checkpoints.save_best(net, checkpoints_at[number], epoch=epoch, lr=history.lr[epoch])
        if state_at is not None:
            save_state(state_at, group, splits, histories)
        if on_epoch is not None:
            on_epoch(histories)
    for net, average in zip(nets, group.averages, strict=False):
        net.load_state_dict(average.module.state_dict())
    return histories


def shared(recipe: Recipe) -> tuple[tuple[str, object], ...]:
    """What recipes of nets that train together must have in common."""
    return tuple((name, value) for name, value in asdict(recipe).items() if name not in OWN)


def run_epoch(group: Group, splits: Splits, epoch: int, histories: Sequence[History]) -> None:
    """Train for an epoch, validate, and add the epoch to each net's history."""
    started = time.perf_counter()
    trained = train_epoch(group, splits, epoch)
    validated = scores(predict_logits(group.validated, splits.val_images, group.recipes[0]), splits.val_labels)
    seconds = (time.perf_counter() - started) / len(histories)
    for history, recipe, training, validation in zip(histories, group.recipes, trained, validated, strict=True):
        history.append(*training, *validation, learning_rate(recipe, epoch, epoch / recipe.epochs), seconds)


def save_state(path: Path, group: Group, splits: Splits, histories: Sequence[History]) -> None:
    state = {
        "recipes": [asdict(recipe) for recipe in group.recipes],
        "labels": checksum(splits.train_labels),
        "nets": [net.state_dict() for net in group.nets],
        "averages": [average.state_dict() for average in group.averages],
        "optimizer": group.optimizer.state_dict(),
        "generator": group.generator.get_state(),
        "histories": [asdict(history) for history in histories],
    }
    checkpoints.save_atomically(state, path)


def difference(found: Any, wanted: list[dict[str, Any]]) -> str:
    """What sets the recipes `wanted` apart from those found, in words."""
    if not isinstance(found, list) or len(found) != len(wanted):
        return f"{len(wanted)} nets, found {len(found) if isinstance(found, list) else 'none'}"
    pairs = [
        f"{name}={value}, found {name}={theirs.get(name)}"
        for mine, theirs in zip(wanted, found, strict=True)
        for name, value in mine.items()
        if theirs.get(name) != value
    ]
    return "; ".join(dict.fromkeys(pairs)) or "these settings, found one with more of them"


def plain_weights(path: Path, number: int = 0) -> dict[str, Tensor]:
    """Weights and buffers of the last epoch, not averaged, of one of the nets whose state is at `path`."""
    weights: dict[str, Tensor] = checkpoints.load(path)["nets"][number]
    return weights


def restore_state(path: Path, group: Group, splits: Splits) -> list[History]:
    """Load the state of a run into the group given, and return its histories."""
    state: dict[str, Any] = checkpoints.load(path)
    found, wanted = state.get("recipes"), [asdict(recipe) for recipe in group.recipes]
    if found != wanted:
        raise ValueError(f"{path}: expected the state of a run with {difference(found, wanted)}")
    if state.get("labels") != checksum(splits.train_labels):
        raise ValueError(f"{path}: expected the state of a run on these training labels, found one on others")
    try:
        for nets, key in ((group.nets, "nets"), (group.averages, "averages")):
            for net, values in zip(nets, state[key], strict=True):
                net.load_state_dict(values)
        group.optimizer.load_state_dict(state["optimizer"])
        group.generator.set_state(state["generator"])
        return [History(**history) for history in state["histories"]]
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        kinds = ", ".join(sorted({type(net).__name__ for net in group.nets}))
        raise ValueError(f"{path}: expected the state of {kinds}, found another ({error})") from error
