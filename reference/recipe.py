"""The hyperparameters of a training run, and the learning rate they ask for at each moment of it."""

from dataclasses import dataclass
from typing import Literal

WARM_UP = 0.25  # share of a one-cycle run in which the learning rate rises


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run, apart from the net and the data.

    The defaults are the hyperparameters that the course hands out. `l1` is the coefficient of the L1 penalty on
    weights, `weight_decay` that of L2 (PyTorch's convention: weight_decay * parameter is added to the gradient).
    `schedule="step"` multiplies the learning rate by `decay` after every `decay_epochs` epochs (never, when None);
    `schedule="one_cycle"` rises linearly to `lr` and falls linearly to 0 (Smith, Topin, arXiv:1708.07120).
    `average` keeps an exponential moving average of weights and buffers with that decay per step, and it is the average
    that is validated and saved (Polyak, Juditsky, SIAM J. Control Optim. 30(4), 1992). `flip_test` adds the logits of
    the mirrored image when classifying.
    `channels_last`, `bfloat16` and `compiled` (`torch.compile`) change the speed, and the numbers within rounding; all
    are off by default.

    Raises ValueError where a value makes no sense.
    """

    epochs: int = 30
    batch_size: int = 128
    lr: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    l1: float = 0.0
    decay_epochs: int | None = None
    decay: float = 0.1
    schedule: Literal["step", "one_cycle"] = "step"
    augment: bool = False
    label_smoothing: float = 0.0
    average: float = 0.0
    flip_test: bool = False
    channels_last: bool = False
    bfloat16: bool = False
    compiled: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "decay_epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"Recipe: {name} must be at least 1, found {value}")
        if not 0 <= self.average < 1:
            raise ValueError(f"Recipe: average must be at least 0 and below 1, found {self.average}")
        if self.schedule not in ("step", "one_cycle"):
            raise ValueError(f"Recipe: schedule must be 'step' or 'one_cycle', found {self.schedule!r}")
        if self.schedule == "one_cycle" and self.decay_epochs is not None:
            raise ValueError("Recipe: decay_epochs belongs to schedule='step', found schedule='one_cycle'")


def learning_rate(recipe: Recipe, epoch: int, progress: float) -> float:
    """Learning rate in `epoch` (from 0) when the share `progress` (0 <= progress < 1) of the whole run is done."""
    if recipe.schedule == "one_cycle":
        return recipe.lr * min(progress / WARM_UP, (1 - progress) / (1 - WARM_UP))
    if recipe.decay_epochs is None:
        return recipe.lr
    return recipe.lr * recipe.decay ** (epoch // recipe.decay_epochs)
