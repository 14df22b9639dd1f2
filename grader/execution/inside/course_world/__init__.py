"""What the grader puts into a student's kernel before the first cell; everything in this folder runs there.

Loaded as an IPython extension. Nothing that is computed here is a verdict: the grader reads the events and the
challenge's outputs outside the kernel, as hostile input.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Install the small world and the trace in the kernel that `shell` belongs to."""
    from course_world import limits

    limits.install(cuda=os.environ.get("CUDA_VISIBLE_DEVICES") != "")

    from course_world import devices, files, forward, loaders, losses, packages, saving, schedules, steps
    from course_world import shell as shell_lines

    _seed()
    new_cell = shell_lines.install(shell)
    packages.install()
    files.install()
    devices.install()
    for part in (loaders, forward, losses, steps, schedules, saving):
        part.install()
    _follow_cells(shell, new_cell)


def _seed() -> None:
    """A notebook without a seed is graded the same twice; small nets on one thread leave the other cores to others."""
    import random

    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)


def _follow_cells(shell: InteractiveShell, new_cell: Any) -> None:
    import random

    from course_world.forward import calls
    from course_world.found import find_in
    from course_world.loaders import loaders
    from course_world.losses import report_unused
    from course_world.nets import nets
    from course_world.recorder import harmless, recorder
    from course_world.steps import look_for_nets

    kept = random.getstate()  # between cells the kernel's own event loop draws from the same generator
    look = harmless(lambda: find_in(shell.user_ns))
    look_for_nets.append(look)

    def before_cell(info: Any) -> None:
        if info.store_history:  # the grader's own lines leave none
            random.setstate(kept)
            recorder.cell += 1
            calls.forget()
            loaders.current = None
            nets.drop_copies()
            new_cell()

    def after_cell(result: Any) -> None:
        nonlocal kept
        if result.info.store_history:
            calls.forget()
            report_unused()
            look()
            kept = random.getstate()

    shell.events.register("pre_run_cell", before_cell)
    shell.events.register("post_run_cell", after_cell)
    recorder.emit("ready")
