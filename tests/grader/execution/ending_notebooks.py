"""Notebooks that end in every way a notebook can."""

from notebook_runs import Given

from grader.execution.limits import Limits

LEFT_BEHIND = "31415.9265"  # seconds, and a mark to find the processes by
SIMPLENN = """
import torch, torch.nn as nn, torch.nn.functional as F
class SimpleNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 5), nn.Conv2d(8, 16, 3)
        self.fc1, self.fc2, self.fc3 = nn.Linear(576, 120), nn.Linear(120, 84), nn.Linear(84, 10)
    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))
"""
TRACE = "import os; path = os.environ['COURSE_WORLD_TRACE']\n"

MIXED = {
    "first": "x = 1",
    "raises": "1 / 0",
    "asserts": "def check(net):\n    assert net.is_cuda  # deployed?\ncheck(type('Net', (), {'is_cuda': False}))",
    "does not parse": "x = = 1",
    "asks": "answer = input('which GPU? ')",
    "asks for a secret": "import getpass; getpass.getpass()",
    "reads stdin": "import sys; print(repr(sys.stdin.read()))",
    "debugs": "import pdb; pdb.set_trace()",
    "leaves": "import sys; sys.exit(3)",
    "exits": "exit()",
    "recurses": "def f(): return f()\nf()",
    "too much memory": "import numpy as np; np.ones(2 * 10**9)",
    "prints 100 MB": "print('x' * 100_000_000); raise ValueError('after the flood')",
    "prints many lines": "for i in range(300_000): print(i)",
    "prints from a process": "!head -c 5000000 /dev/zero | tr '\\0' 'y'",
    "shows much": "from IPython.display import HTML, Image, display\n"
    "for i in range(40): display(HTML('<b>' + 'h' * 20_000))\ndisplay({'text/plain': 'p' * 500_000}, raw=True)",
    "shows too large a picture": "display({'image/png': 'A' * 5_000_000, 'text/plain': 'picture'}, raw=True)",
    "shows nonsense": "display({'text/plain': [1, 2], 'application/json': {'a': 1}}, raw=True)",
    "long error": "raise ValueError('e' * 1_000_000)",
    "sends malformed messages": """
kernel = get_ipython().kernel
contents = (("stream", {}), ("stream", {"name": 3}), ("display_data", {"data": 4}), ("error", {}), ("odd", {}))
for kind, content in contents:
    kernel.session.send(kernel.iopub_socket, kind, content, parent=kernel.get_parent())
""",
    "floods the trace": TRACE + "open(path, 'a').write('garbage\\n' * 200_000 + 'x' * 50_000_000)",
    "forges an event": TRACE
    + """
open(path, 'a').write('''
{"event": "step", "cell": 0, "net": -1, "lr": "high"}
{"event": "net", "cell": 99999999999, "net": 1}
[1, 2, 3]
{"event": "ready", "cell": 0}
''')""",
    "removes the trace": TRACE + "os.remove(path); os.mkfifo(path)",
    "last": "print('still here', x)",
}

LATE = {
    "too long": "import time\nwhile True: time.sleep(0.01)",
    "swallows one interrupt": """
import time
for i in range(2):
    try:
        while True: time.sleep(0.01)
    except KeyboardInterrupt: print('not me')
""",
    "after": "print('in time')",
}

NOTEBOOKS = {
    "mixed": Given(MIXED),
    "late": Given(LATE, limits=Limits(cell=1.5)),
    "never stops": Given(
        {
            "end": "import time\nwhile True:\n    try: time.sleep(0.01)\n    except KeyboardInterrupt: pass",
            "later": "x = 1",
        },
        limits=Limits(cell=1.0),
    ),
    "takes too long": Given(
        {f"sleep {i}": f"import time; time.sleep({s})" for i, s in enumerate((1.2, 30, 1))}, limits=Limits(notebook=3.0)
    ),
    "leaves the process": Given(
        {
            "net": SIMPLENN,
            "children": f"""
import os, subprocess
children = [subprocess.Popen(["sleep", "{LEFT_BEHIND}"], start_new_session=new) for new in (False, True)]
print(len(children), "started")
""",
            "end": "os._exit(3)",
            "later": "x = 1",
        }
    ),
    "kills itself": Given(
        {
            "net": SIMPLENN
            + """
class Slow(SimpleNN):
    def forward(self, x):
        while len(x) == 4: pass
        return super().forward(x)
""",
            "nonsense": """
import gc, os, signal, safetensors.torch as st
challenge = next(o for o in gc.get_objects() if isinstance(o, dict) and o.get("__name__") == "course_world.challenge")
replies = [b"", b"\\xff" * 100, b"x" * 1_000_000, st.save({"eval": torch.zeros(4, 10)}), "fifo", "link",
           st.save({m: torch.zeros(4, 10).double() for m in ("eval", "train")}, {"precision": "none"}),
           st.save({m: torch.zeros(3, 3).double() for m in ("eval", "train")})]
def answer(folder):
    reply, path = replies.pop(0), folder + "/reply.safetensors"
    if reply == "fifo": os.mkfifo(path)
    elif reply == "link": os.symlink("/etc/hostname", path)
    else: open(path, "wb").write(reply)
challenge['answer'] = answer
nets = [SimpleNN() for _ in range(8)]
for net in nets: net(torch.zeros(1, 3, 32, 32))
""",
            "end": "os.kill(os.getpid(), signal.SIGKILL)",
        },
        limits=Limits(challenge=1.0),
    ),
}
