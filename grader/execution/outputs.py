"""A client of nbclient's that keeps a bounded part of what cells print and show, whatever the kernel sends."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete
from nbformat import NotebookNode

from grader.execution.limits import Limits

CELL_TEXT = 100_000  # characters of text kept of one cell
NOTEBOOK_TEXT = 2_000_000
ERROR = 10_000  # of an error, beyond the text: its end, which says what it was
IMAGE = 3_000_000  # characters of base64: a picture of 2.2 MB
NOTEBOOK_IMAGES = 30_000_000
KIND, KINDS = 100, 20  # characters of a MIME type, and how many of them one output may have
DROPPED = f"\n[the grader keeps the first {CELL_TEXT:,} characters of a cell's output; the rest was dropped]\n"
OUTPUTS = ("stream", "display_data", "execute_result", "update_display_data", "error")


class BoundedClient(NotebookClient):
    """Keeps CELL_TEXT characters a cell, NOTEBOOK_TEXT in all, and pictures up to their own limits; ignores widgets.

    A message that is not formed as the protocol says is ignored too.
    """

    def __init__(self, notebook: NotebookNode, kernel: AsyncKernelManager, limits: Limits, **kwargs: Any) -> None:
        super().__init__(notebook, km=kernel, timeout=None, allow_errors=True, record_timing=False, **kwargs)
        self.kernel = kernel
        self.fault = ""  # why the grader ended the kernel
        self.limits = limits
        self._bytes = self._messages = 0
        self._killing: asyncio.Future[None] | None = None
        self._text: Counter[int] = Counter()  # characters kept, by cell
        self._all_text = self._all_images = 0

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        try:
            if msg["msg_type"] in OUTPUTS and not self._shorten(msg["content"], cell_index):
                return None
            return super().process_message(msg, cell, cell_index)
        except CellExecutionComplete:
            raise
        except Exception as error:  # noqa: BLE001  (the kernel is the student's: a malformed message is no message)
            self.log.debug("malformed message: %s", error)
            return None

    def listen(self, client: AsyncKernelClient) -> None:
        """Take `client` for the kernel's channels, and count all that comes, whichever cell it claims to be from."""
        self.kc = client
        receive = client.iopub_channel.get_msg

        async def counted(*arguments: Any, **options: Any) -> dict[str, Any]:
            message: dict[str, Any] = await receive(*arguments, **options)
            self._count(message)
            return message

        client.iopub_channel.get_msg = counted

    def _count(self, message: dict[str, Any]) -> None:
        """End a kernel that sends without end: what it printed so far is kept."""
        self._messages += 1
        self._bytes += _size(message.get("content"))
        if self.fault or not (self._bytes > self.limits.output_bytes or self._messages > self.limits.output_messages):
            return
        said = f"{self.limits.output_bytes / 1e6:.0f} MB or {self.limits.output_messages:,} messages"
        self.fault = f"the notebook sent more than {said} of output"
        if self.kernel.provisioner is not None:
            self._killing = asyncio.ensure_future(self.kernel.provisioner.kill())

    def handle_comm_msg(self, outs: list[NotebookNode], msg: dict[str, Any], cell_index: int) -> None:
        """Widgets have no frontend here; what they send is not kept."""

    def clear_output(self, outs: list[NotebookNode], msg: dict[str, Any], cell_index: int) -> None:
        super().clear_output(outs, msg, cell_index)
        self._text[cell_index] = 0

    def _shorten(self, content: dict[str, Any], cell_index: int) -> bool:
        """Cut the message's content to what may be kept; False when nothing of it may. Metadata never are."""
        content["metadata"] = {}
        if not isinstance(content.get("execution_count"), int):
            content["execution_count"] = None
        if "name" in content and "text" in content:
            content["text"] = self._kept(str(content["text"]), cell_index)
            return bool(content["text"])
        if "ename" in content:
            for name in ("ename", "evalue"):
                content[name] = writable(str(content[name])[:ERROR])
            content["traceback"] = [writable("\n".join(map(str, content["traceback"]))[-ERROR:])]
            return True
        content["data"] = {
            writable(kind[:KIND]): kept
            for kind, value in list(content["data"].items())[:KINDS]
            if isinstance(value, str) and (kept := self._kept_data(kind, value, cell_index))
        }
        return bool(content["data"])

    def _kept(self, text: str, cell_index: int) -> str:
        """The beginning of `text` that still has room, with a note where it was cut."""
        room = min(CELL_TEXT - self._text[cell_index], NOTEBOOK_TEXT - self._all_text)
        if room <= 0:
            return ""
        self._text[cell_index] += len(text)
        self._all_text += min(room, len(text))
        return writable(text) if len(text) <= room else writable(text[:room]) + DROPPED

    def _kept_data(self, kind: str, value: str, cell_index: int) -> str:
        if not kind.startswith("image/"):
            # Half a table in HTML is none; plain text can be cut.
            return self._kept(value, cell_index) if kind == "text/plain" or len(value) <= CELL_TEXT // 2 else ""
        if len(value) > IMAGE or self._all_images + len(value) > NOTEBOOK_IMAGES:
            return ""
        self._all_images += len(value)
        return writable(value)


def writable(text: str) -> str:
    """The same with a question mark for each half of a character, which no file can hold."""
    return text.encode("utf-8", "replace").decode()


def _size(value: Any) -> int:
    """Characters in all strings of a message."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_size(key) + _size(inner) for key, inner in value.items())
    return sum(map(_size, value)) if isinstance(value, list) else 8
