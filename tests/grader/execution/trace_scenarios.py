"""The cells of one notebook, each a small scene of training whose truth is known."""

PRELUDE = """
import copy, math
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision.transforms as T
from torchvision.transforms import v2
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, random_split
from tools.dataset import CIFAR10

to_tensor = [T.ToTensor(), T.Normalize((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))]
plain = T.Compose(to_tensor)
crop_flip = T.Compose([T.RandomCrop(32, padding=4), T.RandomHorizontalFlip(), *to_tensor])


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5, stride=4)
        self.fc = nn.Linear(4 * 7 * 7, 10)

    def forward(self, x):
        return self.fc(F.relu(self.conv(x)).flatten(1))


def loader(mode="train", transform=plain, batch_size=64, **options):
    return DataLoader(CIFAR10("./data", mode, transform=transform), batch_size=batch_size, **options)


def steps(net, batches, n=2, optimizer=None, loss_of=F.cross_entropy):
    optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=0.01)
    for number, (x, y) in enumerate(batches):
        if number == n:
            break
        optimizer.zero_grad()
        loss_of(net(x), y).backward()
        optimizer.step()
    return optimizer


train, val = loader(shuffle=True), loader("val")
"""

CELLS = {
    "prelude": PRELUDE,
    "dummy": "net = Tiny(); net(torch.randn(64, 3, 32, 32))",
    "taken batch": "images, labels = next(iter(train)); net = Tiny(); net(images)",
    "iterator left open": "left_open = iter(train); images, labels = next(left_open)",
    "dummy while open": "net = Tiny(); net(torch.randn(64, 3, 32, 32))",
    "modes": """
net = Tiny()
net.train(); steps(net, train)
net.eval()
with torch.no_grad():
    for x, y in val: net(x)
for x, y in val: net(x)
""",
    "eval while training": "net = Tiny().eval(); steps(net, train)",
    "initial loss": """
net = Tiny()
for x, y in val: print(F.cross_entropy(net(x), y).item())
other = Tiny()
steps(other, train)
""",
    "initial loss alone": "net = Tiny(); x, y = next(iter(val)); initial = nn.CrossEntropyLoss()(net(x), y)",
    "probabilities": "net = nn.Sequential(Tiny(), nn.Softmax(1)); steps(net, train, n=1)",
    "own loss": "net = Tiny(); steps(net, train, 1, loss_of=lambda z, y: -z.log_softmax(1)[range(len(y)), y].mean())",
    "nll": "net = Tiny(); steps(net, train, 1, loss_of=lambda z, y: nn.NLLLoss()(F.log_softmax(z, 1), y))",
    # -- gradients
    "never zeroed": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for x, y in train:
    F.cross_entropy(net(x), y).backward(); optimizer.step()
""",
    "zeroed by net": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for x, y in train:
    net.zero_grad(set_to_none=False); F.cross_entropy(net(x), y).backward(); optimizer.step()
""",
    "zeroed too late": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for x, y in train:
    F.cross_entropy(net(x), y).backward(); optimizer.zero_grad(); optimizer.step()
""",
    "accumulated": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for number, (x, y) in enumerate(train):
    (F.cross_entropy(net(x), y) / 2).backward()
    if number % 2: optimizer.step(); optimizer.zero_grad()
""",
    "micro-batches": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for x, y in train:
    optimizer.zero_grad()
    for part, labels in zip(x.contiguous(memory_format=torch.channels_last).chunk(4), y.chunk(4)):
        F.cross_entropy(net(part), labels).backward()
    optimizer.step()
""",
    "retained graph": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
x, y = next(iter(train)); loss = F.cross_entropy(net(x), y)
loss.backward(retain_graph=True); loss.backward(); optimizer.step()
""",
    # -- penalties
    "l1": "net = Tiny(); steps(net, train, 1, loss_of=lambda z, y: F.cross_entropy(z, y)"
    " + 1e-3 * sum(p.abs().sum() for p in net.parameters()))",
    "l1 by norm, weights only": "net = Tiny(); steps(net, train, 1, loss_of=lambda z, y: F.cross_entropy(z, y)"
    " + 1e-4 * sum(p.norm(1) for n, p in net.named_parameters() if 'weight' in n))",
    "l1 by L1Loss in a function": """
def penalty(net):
    criterion, total = nn.L1Loss(reduction="sum"), 0.0
    for p in net.parameters(): total += criterion(p, torch.zeros_like(p))
    return total
net = Tiny(); steps(net, train, 1, loss_of=lambda z, y: F.cross_entropy(z, y) + 1e-4 * penalty(net))
""",
    "l1 as means": "net = Tiny(); steps(net, train, 1, loss_of=lambda z, y: F.cross_entropy(z, y)"
    " + 0.1 * sum(p.abs().mean() for p in net.parameters()))",
    "l1 accumulated": "net = Tiny(); steps(net, train, 1, loss_of=lambda z, y: (F.cross_entropy(z, y)"
    " + 1e-3 * sum(p.abs().sum() for p in net.parameters())) / 4)",
    "l1 on data": "net = Tiny(); steps(net, train, 1, loss_of=lambda z, y: F.cross_entropy(z, y)"
    " + 1e-3 * sum(p.data.abs().sum() for p in net.parameters()))",
    "l1 times 0": "net = Tiny(); steps(net, train, 1, loss_of=lambda z, y: F.cross_entropy(z, y)"
    " + 0 * sum(p.abs().sum() for p in net.parameters()))",
    "l2 by hand": "net = Tiny(); steps(net, train, 1, loss_of=lambda z, y: F.cross_entropy(z, y)"
    " + 0.5e-2 * sum((p ** 2).sum() for p in net.parameters()))",
    "l1 from the 4th step": """
net, count = Tiny(), 0
def loss(z, y):
    global count; count += 1
    return F.cross_entropy(z, y) + (1e-3 * sum(p.abs().sum() for p in net.parameters()) if count >= 4 else 0 * z.sum())
steps(net, train, 8, loss_of=loss)
""",
    # -- optimizers
    "adam": "net = Tiny(); steps(net, train, 1, torch.optim.Adam(net.parameters(), lr=3e-3, weight_decay=1e-2))",
    "groups": """
net = Tiny(); groups = [{"params": [p for p in net.parameters() if p.dim() == 1], "weight_decay": 0.0},
                        {"params": [p for p in net.parameters() if p.dim() > 1], "weight_decay": 5e-4}]
steps(net, train, 1, torch.optim.SGD(groups, lr=0.05, momentum=0.8))
""",
    "half of the net": "net = Tiny(); net(torch.zeros(1, 3, 32, 32))\n"
    "steps(net, train, 1, torch.optim.SGD(net.fc.parameters(), lr=0.01))",
    "another net's": "net, model = Tiny(), Tiny()\nsteps(net, train, 1, torch.optim.SGD(model.parameters(), lr=0.01))",
    "closure": """
net = Tiny(); optimizer = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=2)
x, y = next(iter(train))
def closure():
    optimizer.zero_grad(); loss = F.cross_entropy(net(x), y); loss.backward(); return loss
optimizer.step(closure)
""",
    "StepLR": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.1)
for epoch in range(4): steps(net, train, 1, optimizer); schedule.step()
""",
    "LambdaLR": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
for epoch in range(3): steps(net, train, 1, optimizer); schedule.step()
""",
    "OneCycleLR": """
net, epochs = Tiny(), 3; optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.4, epochs=epochs, steps_per_epoch=len(train))
for epoch in range(epochs):
    for x, y in train: steps(net, [(x, y)], 1, optimizer); schedule.step()
""",
    "rate by hand": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(3):
    steps(net, train, 1, optimizer)
    for group in optimizer.param_groups: group["lr"] *= 0.5
""",
    "autocast and scaler": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.01); scaler = torch.amp.GradScaler("cpu")
x, y = next(iter(train))
with torch.autocast("cpu", dtype=torch.bfloat16): loss = F.cross_entropy(net(x), y)
scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()
""",
    # -- kinds of nets
    "data parallel": "net = Tiny(); wrapped = nn.DataParallel(net).cuda(); steps(wrapped, train, 1)",
    "compiled": """
net = torch.compile(Tiny()); steps(net, train, 1)
@torch.compile
def f(x): return x + 1
assert f(torch.ones(1)) == 2
""",
    "scripted": "net = torch.jit.script(Tiny()); steps(net, train, 1)",
    "traced": "net = torch.jit.trace(Tiny(), torch.zeros(2, 3, 32, 32)); steps(net, train, 1)",
    "module list": """
class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(196, 10)])
        self.unused = nn.Linear(196, 7)

    def forward(self, x):
        for layer in self.layers: x = layer(x)
        return x

net = Listed(); steps(net, train, 1)
""",
    "functional": """
class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 3, 5, 5) * 0.1); self.v = nn.Parameter(torch.randn(10, 196) * 0.1)

    def forward(self, x):
        return F.linear(torch.flatten(F.conv2d(x, self.w, stride=4).relu(), 1), weight=self.v)

net = Functional(); steps(net, train, 1)
""",
    "net inside a net": """
class Outer(nn.Module):
    def __init__(self, inner):
        super().__init__(); self.inner = inner; self.bias = nn.Parameter(torch.zeros(10))

    def forward(self, x): return self.inner(x) + self.bias

inner = Tiny(); inner(torch.zeros(1, 3, 32, 32)); inner.conv(torch.zeros(1, 3, 32, 32))
net = Outer(inner); steps(net, train, 1)
""",
    "raises inside": """
class Moody(Tiny):
    def forward(self, x):
        if len(x) == 3: raise ValueError("three")
        return super().forward(x)

net = Moody()
try: net(torch.zeros(3, 3, 32, 32))
except ValueError: pass
steps(net, train, 1)
""",
    "head replaced": """
net = Tiny(); net(torch.zeros(1, 3, 32, 32)); net.fc = nn.Linear(196, 10); steps(net, train, 1)
""",
    "head replaced after the optimizer": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.01); net.fc = nn.Linear(196, 10)
steps(net, train, 1, optimizer)
""",
    "copied": "net = Tiny(); steps(net, train, 3)\nclone = copy.deepcopy(net); steps(clone, train, 1)",
    "continued": "net = Tiny(); steps(net, train, 3)\nsteps(net, train, 1)",
    "by keyword": """
class Named(Tiny):
    def forward(self, images): return super().forward(images)

net = Named(); x, y = next(iter(train)); F.cross_entropy(input=net(images=x), target=y)
""",
    "no state": "class Empty(nn.Module):\n    def forward(self, x): return x\nEmpty()(torch.zeros(2, 3, 32, 32))",
    # -- saving
    "saved": "net = Tiny(); steps(net, train, 2)\ntorch.save({'state_dict': net.state_dict(), 'epoch': 1}, 'net.pth')",
    "saved the wrong one": "net, model = Tiny(), Tiny(); model(torch.zeros(1, 3, 32, 32)); steps(net, train, 2)\n"
    "torch.save(model.state_dict(), 'model.pth')",
    "saved a copy": "net = Tiny(); steps(net, train, 2)\nbest = copy.deepcopy(net.state_dict()); steps(net, train, 1)\n"
    "torch.save(best, 'best.pth')",
    "loaded": "net = Tiny(); net.load_state_dict(torch.load('net.pth')['state_dict']); steps(net, train, 1)",
    "loaded from elsewhere": """
net = Tiny(); net.load_state_dict({name: torch.randn(value.shape) for name, value in net.state_dict().items()})
""",
    # -- data
    "augmented": "for x, y in loader(transform=crop_flip, shuffle=True): pass",
    "augmented v2": """
pipeline = v2.Compose([v2.ToImage(), v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(),
                       v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))])
for x, y in loader(transform=pipeline, shuffle=True): pass
""",
    "small crop": "for x, y in loader(transform=T.Compose([T.RandomCrop(32, padding=2), *to_tensor])): pass",
    "flipped always": "for x, y in loader(transform=T.Compose([T.RandomHorizontalFlip(1.0), *to_tensor])): pass",
    "rotated": "for x, y in loader(transform=T.Compose([T.RandomRotation(40), *to_tensor])): pass",
    "no tensor": "try:\n    for x, y in loader(transform=None): pass\nexcept TypeError: pass",
    "raising transform": """
def broken(image): raise RuntimeError("no such image")
try:
    for x, y in loader(transform=broken): pass
except RuntimeError: pass
""",
    "set afterwards": "data = CIFAR10('./data'); data.transform = crop_flip\nfor x, y in DataLoader(data, 64): pass",
    "exchanged": """
data = CIFAR10('./data', 'train', transform=plain); batches = DataLoader(data, 64)
for x, y in batches: pass
data.transform = crop_flip
for x, y in batches: pass
""",
    "wrapped": """
class Wrapped(Dataset):
    def __init__(self, subset, transform): self.subset, self.transform = subset, transform
    def __len__(self): return len(self.subset)
    def __getitem__(self, i): x, y = self.subset[i]; return self.transform(x), y
wrapped = Wrapped(Subset(CIFAR10('./data', 'train'), range(0, 45000, 2)), crop_flip)
for x, y in DataLoader(wrapped, 2048, shuffle=True): break
""",
    "split": "a, b = random_split(CIFAR10('./data', 'train', transform=plain), [40000, 5000])\n"
    "print(len(a), len(b))\nfor x, y in DataLoader(b, 16): pass",
    "in memory": """
data = CIFAR10('./data', 'train', transform=plain)
memory = TensorDataset(torch.stack([x for x, _ in data]), torch.tensor([y for _, y in data]))
net = Tiny(); steps(net, DataLoader(memory, 64, shuffle=True), 1)
""",
    "augmented in the loop": """
def augment(x):
    x = F.pad(x, (4, 4, 4, 4)); out = []
    for image in x:
        dy, dx = torch.randint(0, 9, (2,)).tolist(); image = image[:, dy:dy + 32, dx:dx + 32]
        out.append(image.flip(2) if torch.rand(()) < 0.5 else image)
    return torch.stack(out)
net = Tiny(); steps(net, ((augment(x), y) for x, y in train), 1)
""",
    "samplers": """
class Backwards:
    def __init__(self, n): self.n = n
    def __len__(self): return self.n
    def __iter__(self): return iter(range(self.n - 1, -1, -1))
class Shuffled(Backwards):
    def __iter__(self): return iter(torch.randperm(self.n).tolist())
class Batches(Shuffled):
    def __iter__(self): return iter(torch.randperm(self.n).reshape(-1, 64).tolist())
data, before = CIFAR10('./data', 'train', transform=plain), torch.get_rng_state()
for options in (dict(shuffle=True), dict(), dict(sampler=Shuffled(512)), dict(sampler=Backwards(512)),
                dict(sampler=torch.utils.data.SubsetRandomSampler(range(0, 45000, 3)))):
    for x, y in DataLoader(data, batch_size=512, **options): break
for x, y in DataLoader(data, batch_sampler=Batches(512)): break
for x, y in DataLoader(data, batch_sampler=torch.utils.data.BatchSampler(range(512), 64, False)): break
""",
    "test split": "rows = sum(len(x) for x in loader('test', batch_size=100)); print(rows)",
    "trained on test": "net = Tiny()\nfor x in loader('test', batch_size=100): steps(net, [(x, net(x).argmax(1))], 1)",
    "validation inside": """
net = Tiny(); optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for number, (x, y) in enumerate(train):
    if number == 1:
        net.eval()
        for v, _ in val: net(v)
        net.train()
    steps(net, [(x, y)], 1, optimizer)
""",
    "moved": """
net = Tiny().to("cuda"); other = Tiny().cuda(); nn.ReLU().cuda(); third = Tiny().to(torch.device("cuda", 0))
""",
    "not for images": "block = nn.Sequential(nn.Conv2d(16, 16, 3), nn.ReLU())\n"
    "broken = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 10))",
    "class alone": """
class NeedsNothing(nn.Module):
    def __init__(self):
        super().__init__(); print("built"); self.fc = nn.Linear(3 * 32 * 32, 10); self.extra = nn.Linear(5, 5)
    def forward(self, x): return self.fc(x.flatten(1))
before = torch.rand(1)
""",
    "random numbers": "torch.manual_seed(3); print(torch.rand(1).item())\n"
    "class Drawn(NeedsNothing):\n    def __init__(self): super().__init__(); torch.rand(5)",
    "random numbers after": "print(torch.rand(1).item())",
}
