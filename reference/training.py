"""The training pipeline of all three labs: SGD on batches of uint8 images that stay in memory.

torch.manual_seed(0)
net = SimpleNN()
history = train(net, load_splits(Path("data")), Recipe(epochs=30), checkpoint=Path("saved_model/net.pth"))
"""

import copy
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference import checkpoints
from reference.data import load_split
from reference.preprocessing import augment, normalise
from reference.recipe import Recipe, learning_rate

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
    "predict",
    "seeded",
    "train",
]

EVALUATION_BATCH = 1000  # images in one forward pass without gradients; the result does not depend on it


@dataclass(frozen=True)
class Splits:
    """Training and validation data: images uint8 (N, 32, 32, 3), labels int64 (N,); ValueError for anything else."""

    train_images: Tensor
    train_labels: Tensor
    val_images: Tensor
    val_labels: Tensor

    def __post_init__(self) -> None:
        for split in ("train", "val"):
            images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            if images.dtype != torch.uint8 or images.shape != (len(labels), 32, 32, 3) or len(labels) == 0:
                raise ValueError(
                    f"{split}_images: expected uint8 ({len(labels)}, 32, 32, 3) for {len(labels)} labels, at least "
                    f"one; found {images.dtype} {tuple(images.shape)}"
                )
            if labels.dtype != torch.int64 or labels.ndim != 1:
                raise ValueError(f"{split}_labels: expected int64 (N,), found {labels.dtype} {tuple(labels.shape)}")

    def to(self, device: torch.device) -> "Splits":
        return Splits(*(getattr(self, column.name).to(device) for column in fields(self)))


@dataclass
class History:
    """One number per epoch; losses are means of cross-entropy per image (no L1 penalty), accuracies fractions.

    train_loss and train_accuracy are running means over the epoch, in training mode, on augmented images where the
    recipe augments. lr is the rate at the epoch's start. initial_loss is the loss before the first step (see
    `initial_loss`); seconds is wall time of training and validation.
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


def load_splits(root: Path) -> Splits:
    """Read the course's training and validation files under `root`. Errors are those of `reference.data.load_split`."""
    tensors: list[Tensor] = []
    for split in ("train", "val"):
        images, labels = load_split(root, split)
        tensors += [torch.from_numpy(images), torch.as_tensor(labels, dtype=torch.int64)]
    return Splits(*tensors)


def seeded(make_net: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A fresh net whose initial weights depend on `seed` alone; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make_net()


def choose_device(device: str = "auto") -> torch.device:
    """ "auto" is the GPU if PyTorch sees one, else the CPU. Raises ValueError for "cuda" where there is none."""
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: expected auto, cpu or cuda, found {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: expected a GPU for 'cuda', found none that PyTorch can use")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def l1_norm(net: nn.Module) -> Tensor:
    """Sum of absolute values of all weights of convolutions and fully-connected layers; biases and BN are left out.

    Scalar. Its gradient with respect to a weight w is sign(w).
    """
    weights = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    return torch.stack([weight.abs().sum() for weight in weights]).sum()


def prepare(images: Tensor, recipe: Recipe) -> Tensor:
    """uint8 (N, 32, 32, 3) -> normalised float32 (N, 3, 32, 32) in the recipe's memory format."""
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    return normalise(images).contiguous(memory_format=layout)


def forward(net: nn.Module, images: Tensor, recipe: Recipe) -> Tensor:
    """uint8 (N, 32, 32, 3) -> float32 logits (N, 10)."""
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=recipe.bfloat16):
        logits: Tensor = net(prepare(images, recipe))
    return logits.float()


def forward_in_parts(net: nn.Module, images: Tensor, recipe: Recipe) -> Tensor:
    """`forward` on at most EVALUATION_BATCH images at a time, so that memory does not grow with their number."""
    starts = range(0, len(images), EVALUATION_BATCH)
    return torch.cat([forward(net, images[start : start + EVALUATION_BATCH], recipe) for start in starts])


@torch.no_grad()
def predict_logits(net: nn.Module, images: Tensor, recipe: Recipe) -> Tensor:
    """uint8 (N, 32, 32, 3) -> float32 logits (N, 10), in evaluation mode; the mode of `net` is restored."""
    was_training = net.training
    logits = forward_in_parts(net.eval(), images, recipe)
    net.train(was_training)
    return logits


def evaluate(net: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> tuple[float, float]:
    """Mean cross-entropy and accuracy (fraction) of `net` on images uint8 (N, 32, 32, 3), labels int64 (N,)."""
    logits = predict_logits(net, images, recipe)
    return F.cross_entropy(logits, labels).item(), (logits.argmax(dim=1) == labels).float().mean().item()


def predict(net: nn.Module, images: Tensor) -> Tensor:
    """The most likely class of each image: uint8 (N, 32, 32, 3) -> int64 (N,) on the CPU."""
    device = next(net.parameters()).device
    return predict_logits(net, images.to(device), Recipe()).argmax(dim=1).cpu()


@torch.no_grad()
def initial_loss(net: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> float:
    """Mean cross-entropy before any training step, over all `images`; near ln(10) for a net that has learned nothing.

    BN normalises with each batch's own statistics, as in the first training step: its running statistics are still
    the arbitrary mean 0 and variance 1, so in evaluation mode the figure would say nothing about training. `net` is
    untouched.
    """
    logits = forward_in_parts(copy.deepcopy(net).train(), images, recipe)
    return F.cross_entropy(logits, labels).item()


def train_epoch(
    net: nn.Module,
    splits: Splits,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    generator: torch.Generator,
) -> tuple[float, float]:
    """One pass over the training images in random order. Returns mean loss and accuracy over the epoch."""
    net.train()
    count = len(splits.train_labels)
    device = splits.train_labels.device
    order = torch.randperm(count, generator=generator).to(device)
    loss_sum, correct = torch.zeros((), device=device), torch.zeros((), device=device)
    for start in range(0, count, recipe.batch_size):
        index = order[start : start + recipe.batch_size]
        images, labels = splits.train_images[index], splits.train_labels[index]
        if recipe.augment:
            images = augment(images, generator)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, epoch, (epoch + (start + len(index) / 2) / count) / recipe.epochs)
        logits = forward(net, images, recipe)  # (N, 10)
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        penalty = recipe.l1 * l1_norm(net) if recipe.l1 else 0.0
        optimizer.zero_grad()
        (loss + penalty).backward()
        optimizer.step()
        loss_sum += loss.detach() * len(labels)
        correct += (logits.detach().argmax(dim=1) == labels).sum()
    return loss_sum.item() / count, correct.item() / count


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

    Returns the history; `net` holds the weights of the last epoch, on the device that trained. Raises ValueError for a
    device that is not there, or a state to resume that belongs to another recipe or other training labels.
    """
    place = choose_device(device)
    splits = splits.to(place)
    net.to(place)
    if recipe.channels_last:
        net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        net.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    generator = torch.Generator().manual_seed(recipe.seed)
    if resume and checkpoint is not None and state_path(checkpoint).exists():
        history = restore_state(state_path(checkpoint), net, optimizer, generator, recipe, splits)
    else:
        history = History(initial_loss(net, splits.val_images, splits.val_labels, recipe))
    for epoch in range(history.epochs, recipe.epochs):
        started = time.perf_counter()
        lr = learning_rate(recipe, epoch, epoch / recipe.epochs)
        train_loss, train_accuracy = train_epoch(net, splits, recipe, optimizer, epoch, generator)
        val_loss, val_accuracy = evaluate(net, splits.val_images, splits.val_labels, recipe)
        history.append(train_loss, train_accuracy, val_loss, val_accuracy, lr, time.perf_counter() - started)
        if checkpoint is not None:
            if history.best_epoch == epoch:
                checkpoints.save_best(net, checkpoint, epoch=epoch, lr=lr)
            save_state(state_path(checkpoint), net, optimizer, generator, recipe, splits, history)
        if on_epoch is not None:
            on_epoch(history)
    return history


def save_state(
    path: Path,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    recipe: Recipe,
    splits: Splits,
    history: History,
) -> None:
    state = {
        "recipe": asdict(recipe),
        "labels": checksum(splits.train_labels),
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "history": asdict(history),
    }
    checkpoints.save_atomically(state, path)


def checksum(labels: Tensor) -> int:
    """CRC-32 of labels int64 (N,): tells the data sets of two runs apart, since each has its own order."""
    return zlib.crc32(labels.cpu().numpy().tobytes())


def restore_state(
    path: Path,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    recipe: Recipe,
    splits: Splits,
) -> History:
    """Load the state of a run into the objects given, and return its history."""
    state: dict[str, Any] = checkpoints.load(path)
    found = state.get("recipe")
    if found != asdict(recipe):
        raise ValueError(f"{path}: expected the state of a run with {recipe}, found one with {found}")
    if state.get("labels") != checksum(splits.train_labels):
        raise ValueError(f"{path}: expected the state of a run on these training labels, found one on others")
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["generator"])
    return History(**state["history"])
