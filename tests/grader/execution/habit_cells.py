"""Cells as students write them, none of which may fail for being run elsewhere."""

CELLS = {
    "title": "md:# Homework 2",
    "imports": """
%matplotlib inline
import os, sys
import numpy as np
import pandas as pd
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
import torchvision.transforms as transforms
import matplotlib.pyplot as plt
from torch.utils.data import DataLoader
from tqdm import tqdm_notebook, trange
from tqdm.notebook import tqdm
""",
    "empty": "",
    "blank": "   \n\n",
    "comment": "# nothing here",
    "colab": """
from google.colab import drive, files
drive.mount('/content/drive')
%cd /content/drive/MyDrive/hw2
""",
    "absent packages": """
from torchsummary import summary
import tensorflow as tf
from tensorflow.keras.utils import to_categorical
import seaborn as sns
from sklearn.metrics import confusion_matrix
import wandb; wandb.init(project="hw2"); wandb.log({"loss": 0.1})
from torch.utils.tensorboard import SummaryWriter
writer = SummaryWriter("runs"); writer.add_scalar("loss", 0.1, 1)
""",
    "shell lines": "!nvidia-smi\n!pip install torchsummary\n!ls\nfound = !echo hello\n%pip install timm\nprint(found)",
    "shell with a python": "!python -m pip install --upgrade pip\n!{sys.executable} -m pip install x",
    "time": "%%time\nwithin = 1 + 1",
    "capture": "%%capture captured\nprint('kept')",
    "bash": "%%bash\necho from bash",
    "html": "%%html\n<b>bold</b>",
    "line magics": "%load_ext autoreload\n%autoreload 2\n%timeit -n1 -r1 sum(range(10))",
    "own tools": """
from tools.dataset import CIFAR10
from tools.helper import answer as from_tools
assert from_tools == 41
""",
    "own modules": """
from mymodel import TinyNet
from utils import answer
from package.inner import deeper
assert (answer, deeper) == (42, 43)
""",
    "modules named like libraries": """
import json, torch, random, types
assert json.dumps([1]) == '[1]' and torch.ones(1) == 1
""",
    "stale data set": """
from dataset import CIFAR10 as Flat, NAMES
assert Flat is CIFAR10 and NAMES == ["plane"]
from broken_dataset import CIFAR10 as Broken
assert Broken is CIFAR10
""",
    "withheld": """
for name in ("grader", "reference", "fixtures"):
    try: __import__(name)
    except ModuleNotFoundError as error: print(error)
""",
    "course files": "raw = np.load('./data/train-images-batch.npy'); print(raw.shape, raw.dtype)",
    "loaders": """
transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.2,) * 3)])
train_set = CIFAR10(root="C:/data", mode="train", download=True, transform=transform)
val_set = CIFAR10("./data", "val", True, transform)
train = DataLoader(train_set, batch_size=128, shuffle=True, num_workers=4, pin_memory=True, persistent_workers=True,
                   prefetch_factor=2)
val = DataLoader(val_set, batch_size=100, num_workers=os.cpu_count(), timeout=30)
""",
    "devices": """
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
hard, index = torch.device("cuda:0"), torch.cuda.current_device()
print(torch.cuda.get_device_name(0), torch.cuda.device_count(), torch.cuda.memory_allocated())
torch.cuda.set_device(0); torch.cuda.empty_cache(); torch.cuda.synchronize(); torch.cuda.manual_seed_all(0)
torch.backends.cudnn.benchmark = True
a = torch.zeros(3, device="cuda") + torch.ones(3, device=hard) + torch.randn(3).cuda().to("cuda", non_blocking=True)
b = torch.tensor([1.0], device="cuda").to(hard) + torch.zeros_like(a, device="cuda").sum().cuda(0)
c = torch.arange(3, device="cuda").type(torch.cuda.LongTensor).type("torch.cuda.FloatTensor")
generator = torch.Generator(device="cuda").manual_seed(0); torch.randperm(4, generator=generator, device="cuda")
start = torch.cuda.Event(enable_timing=True); start.record(); start.elapsed_time(start)
layer = nn.Linear(2, 2, device="cuda"); x = torch.ones(1, 2).pin_memory().cuda(non_blocking=True)
with torch.autocast("cuda"): layer(x)
with torch.cuda.amp.autocast(): layer(x)
print(torch.cuda.get_device_properties(0).total_memory, torch.cuda.get_device_capability())
""",
    "scaler": """
import warnings; warnings.simplefilter("ignore")
scaler = torch.cuda.amp.GradScaler(); net = TinyNet().cuda(); optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
x, y = next(iter(train))
with torch.amp.autocast(device_type="cuda", dtype=torch.float16): loss = F.cross_entropy(net(x.cuda()), y.cuda())
scaler.scale(loss).backward(); scaler.unscale_(optimizer); scaler.step(optimizer); scaler.update()
""",
    "bars": """
for x, y in tqdm(val, desc="val"): pass
for x, y in tqdm_notebook(val): pass
bar = tqdm(total=3); bar.update(1); bar.set_postfix(loss=0.1); bar.close()
for i in trange(3): pass
from tqdm.auto import tqdm as automatic
for i in automatic(range(3)): pass
""",
    "foreign folders": """
folder = "/content/drive/MyDrive/saved_model"
if not os.path.exists(folder): os.makedirs(folder)
assert os.path.isdir(folder) and os.listdir(folder) == []
path = os.path.join(folder, "net.pth")
torch.save({"state_dict": net.state_dict(), "epoch": 1}, path)
net.load_state_dict(torch.load(path, map_location="cuda")["state_dict"])
assert os.path.exists(path) and os.path.getsize(path) > 100
from pathlib import Path
others = ("C:/Users/me/hw2/net.pth", "/home/me/models/net.pth", Path("/Users/me") / "net.pth", "no/such/folder/net.pth")
for other in others:
    torch.save(net.state_dict(), other); torch.load(other)
""",
    "foreign tables": """
table = pd.DataFrame({"Id": [0], "Label": [1]})
for path in ("/content/predictions.csv", "C:/Users/me/predictions.csv", "results/table.csv", "predictions.csv"):
    table.to_csv(path, index=False); assert len(pd.read_csv(path)) == 1
np.savetxt("/kaggle/working/x.txt", np.ones(3)); np.save("arrays/x.npy", np.ones(3)); np.load("arrays/x.npy")
with open("/content/log.txt", "w") as log: log.write("x")
print(open("/content/log.txt").read())
""",
    "foreign plots": """
plt.plot([1, 2]); plt.savefig("plots/deep/loss.png"); plt.savefig("/content/loss.pdf"); plt.show()
""",
    "nothing outside": "print([p for p in ('/content', '/kaggle', '/home/me', '/Users') if os.path.lexists(p)])",
    "moved away": """
os.makedirs("away", exist_ok=True); os.chdir("away"); import utils; os.chdir(".."); os.chdir("/content/drive/none")
""",
    "epochs": """
EPOCHS = 200
def training(EPOCHS=EPOCHS):
    net = TinyNet(); optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    history = np.zeros([2, EPOCHS])
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [100, 150])
    for epoch in range(200):
        count = 0
        for number, (x, y) in enumerate(train):
            optimizer.zero_grad(); F.cross_entropy(net(x), y).backward(); optimizer.step(); count += 1
        assert count == len(train)
        history[0, epoch] = epoch + 1; history[1, epoch] = optimizer.param_groups[0]["lr"]; schedule.step()
    return history
history = training()
assert (history[0] > 0).all() and abs(history[1, -1] - 0.001) < 1e-9
""",
    "by next": """
batches = iter(train)
for step in range(len(train)): x, y = next(batches)
""",
    "whole data": """
print(len(train_set), len(val_set)); image, label = train_set[44_999]; print(type(label), tuple(image.shape))
mean = np.stack([np.asarray(x) for x in train_set.images]).mean(); labels = np.array(train_set.labels)
print(sum(1 for _ in val_set))
""",
    "torchvision data": """
theirs = torchvision.datasets.CIFAR10("./data", train=True, download=True, transform=transform)
x, y = next(iter(DataLoader(theirs, 16))); print(tuple(x.shape), theirs.classes[0])
""",
    "own names": """
list, sum, id, input, open_, type_, str = [1], 3, 4, "x", 5, 6, "text"
""",
    "after own names": "net = TinyNet(); net(torch.zeros(2, 3, 32, 32))",
    "reset": "%reset -f",
    "after reset": """
import torch
from mymodel import TinyNet
net = TinyNet(); print(net(torch.zeros(2, 3, 32, 32)).shape)
""",
    "warnings": """
import warnings; warnings.resetwarnings(); warnings.warn("deprecated")
import logging; logging.warning("loud")
""",
}

FILES = {
    "tools/__init__.py": "raise RuntimeError('stale')",
    "tools/dataset.py": "raise RuntimeError('stale')",
    "tools/helper.py": "answer = 41",
    "mymodel.py": """
import torch.nn as nn
class TinyNet(nn.Module):
    def __init__(self):
        super().__init__(); self.conv = nn.Conv2d(3, 4, 5, stride=4); self.fc = nn.Linear(196, 10)
    def forward(self, x): return self.fc(self.conv(x).relu().flatten(1))
""",
    "utils.py": "answer = 42",
    "package/__init__.py": "",
    "package/inner.py": "deeper = 43",
    "dataset.py": """
import numpy as np
NAMES = ["plane"]
class CIFAR10:
    def __init__(self, root, mode="train", download=True, transform=None): self.data = np.load(root + "/none.npy")
""",
    "broken_dataset.py": "import nothing_like_it\nclass CIFAR10: pass",
    # Each of these would stop a kernel or the grader's own lines if it were imported in place of the library.
    **dict.fromkeys(("torch.py", "json.py", "random.py", "types.py"), "raise RuntimeError('a file of the student')"),
    **dict.fromkeys(("numpy.py", "ipykernel.py", "safetensors.py"), "raise RuntimeError('a file of the student')"),
    "sitecustomize.py": "open('ran-sitecustomize', 'w')",
    "usercustomize.py": "open('ran-usercustomize', 'w')",
    "course_world/__init__.py": "raise RuntimeError('a file of the student')",
    ".ipython/profile_default/startup/first.py": "open('ran-startup', 'w')",
    "ipython_config.py": "open('ran-config', 'w')",
    "ipython_kernel_config.py": "open('ran-kernel-config', 'w')",
}
