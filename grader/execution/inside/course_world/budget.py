"""How much a notebook may compute: full batches first, then few images a batch, at last one batch a pass.

A pass keeps its number of batches while it can, so that 540 epochs take seconds and all of a notebook still happens:
schedules that count epochs or batches run to their end, result arrays sized by the number of epochs are filled.

What a run shows with full batches is what the checks of learning rest on (see grader.calibrate): a few hundred steps of
SimpleNN on 128 images, some sixty of ResNet-20 on 32. On a GPU they are as many, so that the same thresholds hold.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

# Multiply-adds of the forward pass: 0.7e6 for an image of SimpleNN's, 41e6 for one of ResNet-20's. What else a step
# takes is counted in the same unit: reading and transforming an image, and the step itself.
EFFORT = float(os.environ.get("COURSE_WORLD_EFFORT", "1"))
IMAGE = 1.5e6
STEP = 15e6
FIRST_RUN = 94e9 * EFFORT
SECOND_LOADER = 40e9 * EFFORT
LATER_RUN = 2.4e9 * EFFORT
FULL_BATCHES = 200e9 * EFFORT
FEW_IMAGES = 100e9 * EFFORT
LARGEST_STEP = 1.38e9
FEW = 2  # images of a batch when the allowance of full ones is used up
FEWEST = 8  # images of a full batch, however large the net


@dataclass
class Budget:
    """What is left of one notebook's allowance; `image` is what one image of the net that was stepped last costs."""

    this_run: float = FIRST_RUN
    full_batches: float = FULL_BATCHES
    few_images: float = FEW_IMAGES
    image: float = 0.0
    loaders: set[int] = field(default_factory=set)  # that steps were taken on

    def new_run(self) -> None:
        """A new optimizer begins a new run, which may show itself with full batches again."""
        untouched = self.full_batches == FULL_BATCHES
        self.this_run = min(FIRST_RUN if untouched else LATER_RUN, self.full_batches)

    def spend(self, multiply_adds: float, images: int, loader: int | None) -> None:
        """A training step on so many images of a loader, each of which took so many multiply-adds going forward."""
        self._note(loader)
        self.image = multiply_adds + IMAGE
        cost = self.image * images + STEP
        if self.full:
            self.this_run -= cost
            self.full_batches -= cost
        else:
            self.few_images -= cost

    def _note(self, loader: int | None) -> None:
        """Training on a second loader: its images may be augmented, and whether that learns must be seen again."""
        if loader is not None and loader not in self.loaders:
            self.loaders.add(loader)
            if len(self.loaders) == 2:
                self.this_run = min(max(self.this_run, SECOND_LOADER), self.full_batches)

    def cut(self, images: int) -> int:
        """How many images of a batch are read: all, as many as a step may cost, or few."""
        if not self.full:
            return min(images, FEW)
        affordable = int(LARGEST_STEP // self.image) if self.image else images
        return min(images, max(affordable, FEWEST))

    @property
    def full(self) -> bool:
        """Batches come with as many of their images as a step may cost."""
        return self.this_run > 0

    @property
    def spent(self) -> bool:
        """A pass yields one batch and ends."""
        return not self.full and self.few_images <= 0


budget = Budget()
