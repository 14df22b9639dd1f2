"""Scenes of what outlives a step: schedules, losses held with their graphs, penalties, averages of weights."""

from trace_scenarios import PRELUDE

CELLS = {
    "prelude": PRELUDE,
    "schedulers": """
from torch.optim import lr_scheduler as S
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
never = S.StepLR(optimizer, 10)
class Halving(S.LambdaLR):
    def __init__(self, optimizer):
        super().__init__(optimizer, lambda n: 0.5 ** n)
    def step(self):
        super().step()
halving = Halving(optimizer)
steps(net, train, n=1, optimizer=optimizer)
halving.step(); halving.step()
""",
    "plateau and chain": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
plateau = S.ReduceLROnPlateau(optimizer, patience=0)
chain = S.SequentialLR(optimizer, [S.ConstantLR(optimizer, 1.0, 5), S.ExponentialLR(optimizer, 0.5)], milestones=[1])
steps(net, train, n=1, optimizer=optimizer)
plateau.step(1.0); chain.step(); chain.step()
import io, pickle
saved = pickle.dumps(chain.state_dict())
""",
    "penalty by a loss of torch's": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for x, y in train:
    weights = torch.cat([p.flatten() for p in net.parameters()])
    loss = F.cross_entropy(net(x), y) + 1e-3 * F.l1_loss(weights, torch.zeros_like(weights), reduction="sum")
    optimizer.zero_grad(); loss.backward(); optimizer.step()
""",
    "average saved": """
import io
net = Tiny(); average = copy.deepcopy(net); untouched = Tiny()
with torch.no_grad():
    average(x); untouched(x)
for x, y in train:
    steps(net, [(x, y)], 1)
    with torch.no_grad():
        for a, p in zip(average.parameters(), net.parameters()): a.mul_(0.9).add_(p, alpha=0.1)
torch.save(average.state_dict(), io.BytesIO()); torch.save(untouched.state_dict(), io.BytesIO())
""",
    "loss added up with its graph": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.01); total = 0
for _ in range(2):
    for x, y in train:
        optimizer.zero_grad(); loss = F.cross_entropy(net(x), y); loss.backward(); optimizer.step(); total += loss
""",
    "loss added up as a number": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.01); total = 0; losses = []
for _ in range(2):
    for x, y in train:
        optimizer.zero_grad(); loss = F.cross_entropy(net(x), y); loss.backward(); optimizer.step()
        total += loss.item() + loss.detach() + loss.data; losses.append(loss.detach())
""",
}
