"""A process with the heavy libraries imported, of which each kernel is a copy: it starts in the time of a fork.

It imports and does nothing else: a computation on two threads before a fork would leave threads behind that children
wait for, and a look at a GPU would spoil it for them. It never reads a request: what is secret in one (keys, paths) is
read by the copy. Python's own `multiprocessing.forkserver` reads requests in the server and runs pickled functions.
"""

from __future__ import annotations

import array
import compileall
import gc
import importlib
import os
import signal
import socket
import sys
import time
from pathlib import Path

from jail.supervise import handle

PRELOADED = (
    *("numpy", "pandas", "PIL.Image", "torch", "torch.utils.data", "torch.optim.lr_scheduler", "safetensors.torch"),
    *("torchvision", "torchvision.transforms", "torchvision.datasets", "matplotlib", "matplotlib.pyplot", "tqdm"),
    *("ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell", "ipykernel.heartbeat", "ipykernel.iostream"),
    *("IPython.core.completer", "IPython.core.magics", "matplotlib_inline.backend_inline", "tornado.ioloop"),
    *("IPython.core.completerlib", "IPython.core.oinspect", "IPython.extensions.storemagic", "IPython.utils.wildcard"),
    *("ipykernel.debugger", "tornado.platform.asyncio", "torchvision.models.resnet"),
    *("multiprocessing.pool", "sqlite3", "zmq", "zmq.eventloop.zmqstream", "jedi", "debugpy", "jail.kernel"),
)
THREADS_END = 10.0  # seconds in which threads that an import has started must end


def preload() -> None:
    """Import what notebooks use. Raises RuntimeError where a thread is left, with which no fork is safe."""
    gc.disable()
    # Kernels cannot write bytecode, and read these modules anew: they look at their environment when imported.
    compileall.compile_dir(Path(__file__).parents[1], quiet=2)
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:  # an older or a smaller set of packages: the kernel imports it itself, if at all
            continue
    deadline = time.monotonic() + THREADS_END
    while len(os.listdir("/proc/self/task")) > 1:
        if time.monotonic() > deadline:
            raise RuntimeError("a library that was imported keeps a thread")
        time.sleep(0.05)
    gc.collect()
    gc.freeze()  # the collector would write to every page of the copies
    gc.enable()


def serve(grader: socket.socket) -> None:
    """Fork for each connection that `grader` passes; end with the grader."""
    while True:
        message, ancillary, _, _ = grader.recvmsg(1, socket.CMSG_SPACE(4))
        if not message:
            return
        passed = array.array("i")
        for _, _, data in ancillary:
            passed.frombytes(data[:4])
        if os.fork() == 0:
            grader.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                handle(socket.socket(fileno=passed[0]))
            finally:
                os._exit(0)
        os.close(passed[0])


def main() -> None:
    """`python -m jail.fork_server GRADER`, a file descriptor; says `ready` once it is."""
    grader = socket.socket(fileno=int(sys.argv[1]))
    preload()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # copies that end are nobody's to wait for
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the grader's to handle
    grader.send(b"ready")
    serve(grader)


if __name__ == "__main__":
    main()
