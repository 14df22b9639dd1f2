"""The same submission graded twice leaves the same evidence but for times."""

from __future__ import annotations

import json

import pytest
from notebook_runs import Given, Ran, run_given

from grader.execution.world import World

pytestmark = pytest.mark.slow
CELLS = {
    "prelude": """
import random, torch, torch.nn as nn, torch.nn.functional as F, numpy as np
from torch.utils.data import DataLoader
from tools.dataset import CIFAR10
""",
    "train": """
class Hidden: pass
def erased(image):
    scale = random.random() + torch.rand(()) + np.random.rand()
    return torch.tensor(np.array(image)).permute(2, 0, 1) / 255 * scale
batches = DataLoader(CIFAR10("./data", transform=erased), batch_size=64, shuffle=True)
net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)); optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in batches:
    optimizer.zero_grad(); F.cross_entropy(net(x.float()), y).backward(); optimizer.step()
print(random.random(), np.random.rand(), torch.rand(1), {"a", "b", "c"}, net[1].weight.sum())
""",
    "later": """
class SimpleNN(nn.Sequential):
    def __init__(self):
        convs = nn.Conv2d(3, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2)
        linear = nn.Linear(576, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)
        super().__init__(*convs, nn.Flatten(), *linear)
net = SimpleNN(); data = CIFAR10("./data", transform=Hidden()); print(random.random())
""",
}


def without_times(ran: Ran) -> list[str]:
    cells = [{key: value for key, value in cell.items() if key != "seconds"} for cell in ran.summary["cells"]]
    return [
        json.dumps(cells),
        (ran.folder / "executed.ipynb").read_text(),
        (ran.folder / "challenges.json").read_text(),
    ]


def test_evidence_is_the_same_again(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    given = {"once": Given(CELLS), "again": Given(CELLS)}
    ran = run_given(given, tmp_path_factory.mktemp("twice"), world)
    once, again = ran["once"], ran["again"]
    assert [event.model_dump() for event in once.events] == [event.model_dump() for event in again.events]
    assert without_times(once) == without_times(again)
    assert len(once.of("train", "step")) == 8
    assert {name for challenge in once.challenges for name in challenge.equal} == {"simplenn"}
