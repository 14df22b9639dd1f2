"""An ipykernel on sockets that the grader has bound, in this very process."""

from __future__ import annotations

import json
import os
import random
import sys
import traceback
from typing import Any, NoReturn

from jail.policy import Policy

CHANNELS = ("shell", "iopub", "stdin", "hb", "control")
LEFT_WITHOUT_STATUS = 95


def run(policy: Policy, sockets: list[int]) -> NoReturn:
    """Run the kernel until it is told to shut down, and end the process with its exit code.

    `sockets` are descriptors of listening sockets in the order of CHANNELS: with them the kernel needs no folder,
    which it could fill, and in which it could exchange sockets.
    """
    code = 0
    try:
        _take(policy)
        _serve(policy, sockets)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0
    except BaseException:  # noqa: BLE001  (the log is all that is left to say it)
        traceback.print_exc()
        code = LEFT_WITHOUT_STATUS
    finally:
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                stream.flush()
        os._exit(code)


def _take(policy: Policy) -> None:
    """The environment, the module path and the random numbers of a fresh interpreter."""
    given = os.environ.get("PYTHONPATH", "")
    os.environ.clear()
    os.environ.update(policy.environment)
    own = policy.environment.get("PYTHONPATH", "")
    sys.path[:] = [path for path in own.split(os.pathsep) if path] + [p for p in sys.path if p and p != given]
    for name in ("course_world", "tools"):
        module = sys.modules.get(name)
        if module is not None:
            module.__path__ = [os.path.join(own, name)]
    if "numpy" in sys.modules:
        import numpy as np

        np.random.seed(policy.seed)
    if "torch" in sys.modules:
        import torch

        if policy.seed is None:
            torch.seed()
        else:
            torch.manual_seed(policy.seed)
    random.seed(policy.seed)


def _serve(policy: Policy, sockets: list[int]) -> None:
    import zmq
    from ipykernel import heartbeat, iostream
    from ipykernel.kernelapp import IPKernelApp

    ports = [policy.connection[f"{channel}_port"] for channel in CHANNELS]

    def bind(bound: Any, port: int) -> int:
        bound.setsockopt(zmq.USE_FD, sockets[ports.index(port)])
        bound.bind(f"ipc:///{port}")  # a name that is not used: the descriptor is bound already
        return port

    replaced: list[tuple[Any, str, Any]] = [
        (IPKernelApp, "_try_bind_socket", lambda self, bound, port: bind(bound, port)),
        (heartbeat.Heartbeat, "_try_bind_socket", lambda self: bind(self.socket, self.port)),
        (iostream.IOPubThread, "_setup_pipe_in", _pipe_in),
        (iostream.IOPubThread, "_setup_pipe_out", _pipe_out),
    ]
    for owner, name, function in replaced:
        setattr(owner, name, function)
    file = os.path.join(policy.environment["HOME"], "kernel.json")
    with open(file, "w", encoding="utf-8") as opened:
        json.dump(policy.connection, opened)
    app: Any = IPKernelApp.instance()
    app.initialize(["-f", file, *policy.arguments])
    _show_plots()
    app.start()


def _show_plots() -> None:
    """pyplot chose where to draw when it was imported, before there was a notebook to show plots in."""
    if "matplotlib.pyplot" in sys.modules:
        import matplotlib
        from matplotlib_inline import backend_inline

        inline: Any = backend_inline
        matplotlib.rcParams["backend"] = os.environ["MPLBACKEND"]
        inline._enable_matplotlib_integration()


# What forked processes print comes to the kernel over a socket. ipykernel takes TCP on loopback, which is refused here.


def _pipe_in(thread: Any) -> None:
    import zmq
    from zmq.eventloop.zmqstream import ZMQStream

    thread._pipe_uuid = os.urandom(16)
    thread._pipe_port = f"ipc://@{thread._pipe_uuid.hex()}"
    pipe = thread.socket.context.socket(zmq.PULL)
    pipe.linger = 0
    pipe.bind(thread._pipe_port)
    thread._pipe_in = ZMQStream(pipe, thread.io_loop)
    thread._pipe_in.on_recv(thread._handle_pipe_msg)


def _pipe_out(thread: Any) -> tuple[Any, Any]:
    import zmq

    context = zmq.Context()  # a new one after a fork
    pipe = context.socket(zmq.PUSH)
    pipe.linger = 3000
    pipe.connect(thread._pipe_port)
    return context, pipe
