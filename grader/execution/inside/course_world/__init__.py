"""What the grader puts into a student's kernel before the first cell; everything in this folder runs there.

Loaded as an IPython extension. Nothing that is computed here is a verdict: the grader reads the events and the
challenge's outputs outside the kernel, as hostile input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Install the small world and the trace in the kernel that `shell` belongs to."""
    import random

    import numpy as np
    import torch

    from course_world import devices, loaders, nets, packages, trace
    from course_world.recorder import recorder

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    packages.install()
    devices.install()
    loaders.install()
    trace.install()
    import tools.dataset  # noqa: F401  (bound now, so that a stale copy in the working folder cannot shadow it)

    def before_cell(info: Any) -> None:
        recorder.cell += bool(info.store_history)  # the grader's own lines leave no history

    def after_cell(_result: Any) -> None:
        nets.find_in(shell.user_ns)

    shell.events.register("pre_run_cell", before_cell)
    shell.events.register("post_run_cell", after_cell)
    recorder.emit("ready")
