"""What the grader puts into a student's kernel before the first cell; everything in this folder runs there.

Loaded as an IPython extension. Nothing that is computed here is a verdict: the grader reads the events and the
challenge's outputs outside the kernel, as hostile input.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

COMMAND = re.compile(r"None  # course: (forget_key|challenge|overfit) ?(.*)$")


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
    _go_out_of_sight()


def _go_out_of_sight() -> None:
    """What stands in `sys.modules` is a word away from every notebook; these modules go on without it.

    What a data set is made of stays, so that one can be pickled. Processes that the notebook starts record nothing.
    """
    from course_world import images

    own = {name for name in sys.modules if name.partition(".")[0] == "course_world"}
    folder = str(Path(__file__).parents[1])
    for name in own:
        del sys.modules[name]
    left = ModuleType("course_world.images")
    left.__dict__.update(CourseImages=images.CourseImages, SPLITS=images.SPLITS, note_dataset=images.note_dataset)
    sys.modules |= {"course_world": ModuleType("course_world"), "course_world.images": left}
    sys.path[:] = [path for path in sys.path if path != folder]
    os.environ["COURSE_WORLD_RECORDED"] = "elsewhere"


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

    from course_world import challenge, overfit
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

    def obey(line: str) -> None:
        """Lines of the grader's own do nothing by themselves; what they ask for is done before they run."""
        asked = COMMAND.match(line)
        if asked is not None and asked[1] == "forget_key":
            recorder.forget_key()
        elif asked is not None:
            (challenge if asked[1] == "challenge" else overfit).answer(asked[2])

    def before_cell(info: Any) -> None:
        if not info.store_history:  # the grader's own lines leave none
            obey(info.raw_cell)
        else:
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
