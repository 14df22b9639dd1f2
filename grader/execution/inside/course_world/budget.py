"""How much a notebook may compute: full batches first, then few images a batch, at last one batch a pass.

A pass keeps its number of batches while it can, so that 540 epochs take seconds and all of a notebook still happens:
schedules that count epochs or batches run to their end, result arrays sized by the number of epochs are filled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

# Multiply-adds of the forward pass. SimpleNN takes 0.09e9 for a batch of 128, ResNet-20 5.2e9.
EFFORT = float(os.environ.get("COURSE_WORLD_EFFORT", "1"))
FIRST_RUN = 14e9 * EFFORT
LATER_RUN = 2.5e9 * EFFORT
FULL_BATCHES = 40e9 * EFFORT
FEW_IMAGES = 80e9 * EFFORT
STEP = 15e6  # what a step costs beyond its images, in the same unit
FEW = 2


@dataclass
class Budget:
    """What is left of one notebook's allowance."""

    this_run: float = FIRST_RUN
    full_batches: float = FULL_BATCHES
    few_images: float = FEW_IMAGES

    def new_run(self) -> None:
        """A new optimizer begins a new run, which may show itself with full batches again."""
        untouched = self.full_batches == FULL_BATCHES
        self.this_run = min(FIRST_RUN if untouched else LATER_RUN, self.full_batches)

    def spend(self, multiply_adds: float) -> None:
        """A training step on a batch that took this many multiply-adds in its forward pass."""
        cost = multiply_adds + STEP
        if self.full:
            self.this_run -= cost
            self.full_batches -= cost
        else:
            self.few_images -= cost

    @property
    def full(self) -> bool:
        """Batches still come with all of their images."""
        return self.this_run > 0

    @property
    def spent(self) -> bool:
        """A pass yields one batch and ends."""
        return not self.full and self.few_images <= 0


budget = Budget()
