"""Which notebook is which lab: by content first and by name second, in the mess that students hand in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, writes

from grader.submission import find
from grader.submission.find import Submission, SubmissionError, find_submission

ROOT = Path(__file__).parents[3]

DATA = """
%matplotlib inline
from tools.dataset import CIFAR10
!nvidia-smi
train_set = CIFAR10(root="./data", mode="train", download=True, transform=transform_train)
"""
AUGMENT = "transform_train = T.Compose([T.RandomCrop(32, padding=4), T.RandomHorizontalFlip(), T.ToTensor()])"
TRAIN = "loss = criterion(net(images), labels)\nloss.backward()\noptimizer.step()"
SIMPLENN = """
class SimpleNN(nn.Module):
    def __init__(self):
        super(SimpleNN, self).__init__()
        self.conv1 = nn.Conv2d(3, 8, kernel_size=5)
        self.identity = nn.Identity()  # shortcut of nothing, no residual
        self.fc1 = nn.Linear(16 * (5 + 1) * 6, 120)
    def forward(self, x):
        '''return x + self.shortcut(x)'''
        return self.fc1(F.relu(self.conv1(x)).view(x.size(0), -1))
net = SimpleNN()
"""
IMPROVED = """
class Swish(nn.Module):
    def forward(self, x): return x * torch.sigmoid(x)
class SimpleNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(in_channels=3, out_channels=8, kernel_size=(5, 5)), nn.BatchNorm2d(8)
    def forward(self, x): return self.conv1(x)
    def l1(self):
        total = 0
        for p in self.parameters(): total += p.abs().sum()
        return total
"""
RESNET = """
class Unit(nn.Module):
    def __init__(self, i, o, s=1):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(i, o, 3, s, 1), nn.BatchNorm2d(o)
    def forward(self, x):
        out = self.b1(self.c1(x))
        out += self.down(x)
        return F.relu(out)
class Net20(nn.Module):
    def __init__(self): super().__init__(); self.c = nn.Conv2d(3, 16, 3)
    def forward(self, x): return self.c(x)
"""
PREDICT = """
test_set = CIFAR10(root="./data", mode="test", transform=transform)
pd.DataFrame({"Id": ids, "Label": labels}).to_csv("predictions.csv", index=False)
"""
OTHER_HOMEWORK = """
class SimpleNN(nn.Module):
    def __init__(self): super().__init__(); self.fc = nn.Linear(784, 10)
    def forward(self, x): return self.fc(x)
data = torchvision.datasets.MNIST(".")
loss.backward()
"""
OTHER_CIFAR = OTHER_HOMEWORK.replace("MNIST", "CIFAR10").replace("784", "3072")
LAB1, LAB2 = (SIMPLENN, DATA, TRAIN), (IMPROVED, DATA, AUGMENT, TRAIN)
LAB3 = (IMPROVED, RESNET, DATA, AUGMENT, TRAIN)
USUAL = {
    "simplenn-cifar10.ipynb": LAB1,
    "simplenn-cifar10-dev.ipynb": LAB2,
    "resnet-cifar10.ipynb": LAB3,
    "save_test_predictions.ipynb": (RESNET, PREDICT),
}


def write(path: Path, *cells: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [new_markdown_cell("# class ResNet(nn.Module): shortcut, predictions.csv, BatchNorm2d")]
    path.write_text(writes(new_notebook(cells=text + [new_code_cell(cell) for cell in cells])))


def hand_in(root: Path, files: dict[str, tuple[str, ...]]) -> Submission:
    for name, cells in files.items():
        write(root / name, *cells)
    return find_submission(root)


def names(submission: Submission) -> dict[str, str]:
    return {role: str(found.path.relative_to(submission.root)) for role, found in submission.notebooks.items()}


def test_usual_names(tmp_path: Path) -> None:
    submission = hand_in(tmp_path, USUAL)
    assert list(names(submission).values()) == list(USUAL)
    assert {found.why for found in submission.notebooks.values()} == {"its usual name and its content"}
    assert submission.aside == ()


@pytest.mark.parametrize(
    "renamed",
    [
        ("simplenn-cifar10 .ipynb", "simplenn-cifar10-enhanced.ipynb", "resnet20-cifar10.ipynb", "test.ipynb"),
        ("simplenn-cifar10.ipynb", "simplenn-cifar10-dev1.ipynb", "resnet_cifar10.ipynb", "predict.ipynb"),
        (
            "simplenn-cifar10 (1).ipynb",
            "simplenn-cifar10 -dev.ipynb",
            "Lab3.ipynb",
            "save_test_predictions-Copy1.ipynb",
        ),
        ("c.ipynb", "b.ipynb", "a.ipynb", "d.ipynb"),
        ("Lab 1/hw2.ipynb", "Lab 2/hw2.ipynb", "Lab 3/hw2.ipynb", "Lab 3/pred.IPYNB"),
        ("resnet.ipynb", "simplenn-cifar10.ipynb", "simplenn-cifar10-dev.ipynb", "b.ipynb"),
    ],
)
def test_content_decides_whatever_the_names(tmp_path: Path, renamed: tuple[str, ...]) -> None:
    submission = hand_in(tmp_path, dict(zip(renamed, USUAL.values(), strict=True)))
    assert names(submission) == dict(zip(find.ROLES, renamed, strict=True))


def test_untouched_template_is_lab_1_and_predictions_and_nothing_else() -> None:
    submission = find_submission(ROOT / "student_template")
    usual = {"lab1": "simplenn-cifar10.ipynb", "predict": "save_test_predictions.ipynb"}
    assert names(submission) == usual
    assert submission.predictions is None  # sample_predictions.csv is the course's


def test_reference_is_found() -> None:
    assert list(names(find_submission(ROOT / "reference" / "notebooks"))) == list(find.ROLES)


def test_other_homework_is_left_aside(tmp_path: Path) -> None:
    other = {"hw1.ipynb": (OTHER_HOMEWORK,), "hw3.ipynb": (OTHER_CIFAR,), "notes.ipynb": ("x = 1", "# class ResNet")}
    submission = hand_in(tmp_path, USUAL | other)
    assert list(names(submission).values()) == list(USUAL)
    assert [name for name, _ in submission.aside] == sorted(other)


def test_other_homework_alone_is_no_lab(tmp_path: Path) -> None:
    assert names(hand_in(tmp_path, {"hw1.ipynb": (OTHER_HOMEWORK,), "hw3.ipynb": (OTHER_CIFAR,)})) == {}


def test_wrong_layers_under_the_usual_name_are_still_lab_1(tmp_path: Path) -> None:
    submission = hand_in(tmp_path, {"simplenn-cifar10.ipynb": (OTHER_CIFAR, DATA, TRAIN)})
    assert names(submission) == {"lab1": "simplenn-cifar10.ipynb"}
    assert submission.notebooks["lab1"].why == "its name; its code alone would not say so"


def test_lab_3_by_name_alone_holds_no_resnet(tmp_path: Path) -> None:
    files = {**USUAL, "resnet-cifar10.ipynb": (IMPROVED, DATA, AUGMENT, TRAIN)}
    submission = hand_in(tmp_path, files)
    assert names(submission)["lab3"] == "resnet-cifar10.ipynb"
    assert submission.notebooks["lab3"].why == "its name; its code alone would not say so"


def test_lab_1_with_augmentation_keeps_its_place(tmp_path: Path) -> None:
    lab1 = {"simplenn-cifar10.ipynb": (*LAB1, AUGMENT)}
    assert list(names(hand_in(tmp_path / "alone", lab1))) == ["lab1"]
    both = hand_in(tmp_path / "both", {**lab1, "simplenn-cifar10-dev.ipynb": (*LAB1, AUGMENT)})
    assert list(names(both)) == ["lab1", "lab2"]


def test_copy_with_nothing_done_yet_is_lab_2_by_its_name(tmp_path: Path) -> None:
    files = {"simplenn-cifar10.ipynb": LAB1, "simplenn-cifar10-dev.ipynb": LAB1, "simplenn-cifar10-Copy1.ipynb": LAB1}
    assert names(hand_in(tmp_path, files)) == {"lab1": "simplenn-cifar10.ipynb", "lab2": "simplenn-cifar10-dev.ipynb"}


def test_resnet_from_a_module_of_the_student_s(tmp_path: Path) -> None:
    cells = ("from resnet import ResNet20\nnet = ResNet20()", DATA, TRAIN)
    assert list(names(hand_in(tmp_path, {"final.ipynb": cells}))) == ["lab3"]


def test_lab_3_that_writes_predictions_is_lab_3(tmp_path: Path) -> None:
    assert list(names(hand_in(tmp_path, {"final.ipynb": (*LAB3, PREDICT)}))) == ["lab3"]


@pytest.mark.parametrize(
    "cell",
    [
        "# class ResNet(nn.Module): shortcut",
        '"""\nclass BasicBlock(nn.Module): pass\n"""',
        'print("BatchNorm2d RandomCrop swish shortcut residual predictions.csv test")',
        "%%bash\npython resnet.py --residual",
        "%%html\n<b>class ResNet</b>",
        "net = 'ResNet20()'",
        "history += more; l1 = layer + 1",
    ],
)
def test_comments_strings_and_text_are_not_code(tmp_path: Path, cell: str) -> None:
    submission = hand_in(tmp_path, {"notebook.ipynb": (*LAB1, cell)})
    assert list(names(submission)) == ["lab1"]


def test_code_after_magics_and_before_errors_counts(tmp_path: Path) -> None:
    cells = ("%%time\n%matplotlib inline\n" + RESNET, DATA + "print 'python 2'\n", "if gpu:\n    !nvidia-smi\n" + TRAIN)
    assert list(names(hand_in(tmp_path, {"notebook.ipynb": cells}))) == ["lab3"]


def test_nearer_of_two_equal_notebooks_is_taken(tmp_path: Path) -> None:
    submission = hand_in(tmp_path, {"old/simplenn-cifar10.ipynb": LAB1, "simplenn-cifar10.ipynb": LAB1})
    assert names(submission) == {"lab1": "simplenn-cifar10.ipynb"}
    assert submission.aside[0][0] == "old/simplenn-cifar10.ipynb"


# -- notebooks whose code does not show which lab they are -----------------------------------------------------------

LOOP = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(i, o, k) for i, o, k in SIZES])
    def forward(self, x):
        for conv in self.convs: x = F.relu(conv(x))
        return x
net = Net()
"""
RENAMED = SIMPLENN.replace("SimpleNN", "CNN").replace("kernel_size=5", "kernel_size=3")
VARIABLES = RENAMED.replace("3, 8, kernel_size=3", "channels, width, size")
NETS = "from models.nets import Net\nnet = Net()"
OWN_DATA = "class Images(Dataset):\n    def __init__(self, mode): self.x = np.load(f'data/{mode}-images-batch.npy')"
WHY_ASIDE = "its code does not train on the course's CIFAR10"


def modules(root: Path, **sources: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, source in sources.items():
        (root / f"{name}.py").write_text(source)


@pytest.mark.parametrize("net", [LOOP, RENAMED, VARIABLES, NETS])
@pytest.mark.parametrize("name", ["simplenn-cifar10.ipynb", "simplenn-cifar10-dev.ipynb", "resnet-cifar10.ipynb"])
def test_whatever_trains_on_cifar10_goes_by_its_name(tmp_path: Path, net: str, name: str) -> None:
    submission = hand_in(tmp_path, {name: (net, DATA, TRAIN)})
    (found,) = submission.notebooks.values()
    assert find.USUAL_NAMES[found.role] == name
    assert found.why == "its name; its code alone would not say so"


@pytest.mark.parametrize(
    "data",
    [
        "from tools.dataset import *",
        "import tools.dataset",
        "from tools import dataset as d\nfrom tools.dataset import CIFAR10 as Images",
        "train_set = torchvision.datasets.CIFAR10('data')",
        OWN_DATA,
    ],
)
def test_data_set_by_any_of_its_names(tmp_path: Path, data: str) -> None:
    assert list(names(hand_in(tmp_path, {"lab2.ipynb": (LOOP, data, TRAIN)}))) == ["lab2"]


def test_all_labs_by_their_names(tmp_path: Path) -> None:
    cells = (LOOP, DATA, TRAIN)
    files = dict.fromkeys(list(USUAL)[:3], cells) | {
        "save_test_predictions.ipynb": USUAL["save_test_predictions.ipynb"]
    }
    submission = hand_in(tmp_path, files | {"trial.ipynb": cells})
    assert list(names(submission).values()) == list(USUAL)
    assert submission.aside == (("trial.ipynb", "neither its code nor its name says which lab it is"),)


@pytest.mark.parametrize(
    "cells",
    [
        (LOOP, TRAIN),  # trains on something
        (LOOP, DATA),  # trains nothing
        (LOOP, "data = torchvision.datasets.CIFAR100('data')", TRAIN),
        ("# CIFAR10", "'-images-batch.npy'", TRAIN),
    ],
)
def test_name_alone_makes_no_lab(tmp_path: Path, cells: tuple[str, ...]) -> None:
    submission = hand_in(tmp_path, {"resnet-cifar10.ipynb": cells})
    assert names(submission) == {}
    assert submission.aside == (("resnet-cifar10.ipynb", WHY_ASIDE),)


@pytest.mark.parametrize("other", ["Final.ipynb", "lab3/net20.ipynb"])
def test_resnet_is_preferred_over_a_notebook_so_named(tmp_path: Path, other: str) -> None:
    submission = hand_in(tmp_path, {"resnet-cifar10.ipynb": (LOOP, DATA, TRAIN), other: LAB3})
    assert names(submission) == {"lab3": other}
    assert submission.aside == (("resnet-cifar10.ipynb", "another notebook fits better"),)


def test_content_is_preferred_over_a_name(tmp_path: Path) -> None:
    files = {"simplenn-cifar10.ipynb": (LOOP, DATA, TRAIN), "mine.ipynb": LAB1}
    assert names(hand_in(tmp_path, files)) == {"lab1": "mine.ipynb"}


@pytest.mark.parametrize("folder", [".", "notebooks"])
def test_training_in_modules_of_the_student_s(tmp_path: Path, folder: str) -> None:
    loop = "from data import load\ndef epoch(net):\n    loss.backward()\ndef fit(net):\n    epoch(net)"
    modules(tmp_path, training=loop, data="from tools.dataset import CIFAR10\nimport training")
    cells = ("import training as t\nt.fit(net)", "x = 'test'; np.savetxt('predictions.csv', labels)")
    submission = hand_in(tmp_path, {f"{folder}/simplenn-cifar10.ipynb": cells})
    assert list(names(submission)) == ["lab1"]


def test_predictions_that_import_a_module_which_trains_stay_predictions(tmp_path: Path) -> None:
    modules(tmp_path / "models", __init__="from .nets import Net", nets="def fit(net):\n    loss.backward()")
    assert list(names(hand_in(tmp_path, {"resnet-predictions.ipynb": ("from models import Net", PREDICT)}))) == [
        "predict"
    ]


@pytest.mark.parametrize("source", [b"def fit(:", b"", b"\xff\xfe", b"x = 1\0", b"#" * 2_000_000, b"(" * 9_000])
def test_modules_that_cannot_be_read_count_for_nothing(tmp_path: Path, source: bytes) -> None:
    (tmp_path / "training.py").write_bytes(source)
    submission = hand_in(tmp_path, {"lab1.ipynb": ("from training import fit\nfit(net)", DATA)})
    assert submission.aside == (("lab1.ipynb", WHY_ASIDE),)


def test_modules_elsewhere_and_links_are_not_read(tmp_path: Path) -> None:
    modules(tmp_path, outside="def fit(net):\n    loss.backward()")
    root = tmp_path / "handed-in"
    modules(root / "deep", training="def fit(net):\n    loss.backward()")
    (root / "link.py").symlink_to(tmp_path / "outside.py")
    submission = hand_in(root, {"lab1.ipynb": ("import training, link, outside\nlink.fit(net)", DATA)})
    assert names(submission) == {}


def test_endless_modules_end(tmp_path: Path) -> None:
    chain = {f"m{number}": f"import m{number + 1}" for number in range(60)}
    modules(tmp_path, **chain, m60="loss.backward()")
    assert names(hand_in(tmp_path, {"lab1.ipynb": ("import m0", DATA)})) == {}
    assert list(names(hand_in(tmp_path, {"lab1.ipynb": ("import m20", DATA)}))) == ["lab1"]


# -- files that cannot be read ---------------------------------------------------------------------------------------


def test_unreadable_notebook_goes_by_its_name_with_its_problem(tmp_path: Path) -> None:
    write(tmp_path / "simplenn-cifar10-dev.ipynb", *LAB2)
    (tmp_path / "simplenn-cifar10.ipynb").write_text("{")
    found = find_submission(tmp_path).notebooks
    assert found["lab1"].problem is not None
    assert found["lab1"].problem.startswith("simplenn-cifar10.ipynb is not valid JSON (line 1, column 2")
    assert (found["lab1"].why, found["lab2"].problem) == ("its name", None)


def test_readable_copy_is_taken_before_a_broken_file(tmp_path: Path) -> None:
    write(tmp_path / "simplenn-cifar10-Copy1.ipynb", *LAB1)
    (tmp_path / "simplenn-cifar10.ipynb").write_bytes(b"")
    submission = find_submission(tmp_path)
    assert names(submission) == {"lab1": "simplenn-cifar10-Copy1.ipynb"}
    assert submission.aside == (("simplenn-cifar10.ipynb", "simplenn-cifar10.ipynb is empty (0 bytes)"),)


# -- files and folders -----------------------------------------------------------------------------------------------


def test_what_tools_leave_behind_is_passed_over(tmp_path: Path) -> None:
    for folder in (".ipynb_checkpoints", "__MACOSX", "venv/lib", ".git"):
        write(tmp_path / folder / "simplenn-cifar10.ipynb", *LAB1)
    for name in ("._resnet-cifar10.ipynb", ".DS_Store"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    submission = find_submission(tmp_path)
    assert (submission.notebooks, submission.files, submission.aside) == ({}, (), ())


def test_links_are_named_and_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "simplenn-cifar10.ipynb", *LAB1)
    root = tmp_path / "handed-in"
    root.mkdir()
    (root / "simplenn-cifar10.ipynb").symlink_to(tmp_path / "elsewhere" / "simplenn-cifar10.ipynb")
    (root / "folder").symlink_to(tmp_path / "elsewhere")
    submission = find_submission(root)
    assert submission.notebooks == {}
    assert [name for name, _ in submission.aside] == ["folder", "simplenn-cifar10.ipynb"]
    assert {reason for _, reason in submission.aside} == {"a link; hand in the file itself"}


def test_archives_inside_are_named(tmp_path: Path) -> None:
    (tmp_path / "hw2.zip").write_bytes(b"PK")
    assert find_submission(tmp_path).aside == (("hw2.zip", "an archive; hand in the files themselves"),)


def test_other_files_by_role(tmp_path: Path) -> None:
    for name in ("deep/predictions.csv", "predictions.csv", "sample_predictions.csv", "report.PDF", "a/answers.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    submission = find_submission(tmp_path)
    assert submission.predictions == tmp_path / "predictions.csv"
    assert submission.answers == tmp_path / "a" / "answers.yaml"
    assert submission.reports == (tmp_path / "report.PDF",)


def test_predictions_under_a_similar_name(tmp_path: Path) -> None:
    (tmp_path / "my_predictions.csv").write_text("x")
    (tmp_path / "sample_predictions.csv").write_text("x")
    assert find_submission(tmp_path).predictions == tmp_path / "my_predictions.csv"


def test_names_of_any_bytes_can_be_shown(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.ipynb"
    with open(path, "wb") as file:
        file.write(b"{")
    ((shown, reason),) = find_submission(tmp_path).aside
    assert (shown.encode().decode(), shown) == (shown, "caf?.ipynb")
    assert "is not valid JSON" in reason


def test_endless_folders_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "MAX_FILES", 3)
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("x")
    submission = find_submission(tmp_path)
    assert len(submission.files) == 3
    assert submission.aside == (("3.txt", "the first 3 files were looked at, not this and later"),)


def test_single_notebook_with_the_modules_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "my.ipynb", *LAB1)
    write(tmp_path / "resnet-cifar10.ipynb", *LAB3)
    (tmp_path / "helper.py").write_text("x = 1")
    submission = find_submission(tmp_path / "my.ipynb")
    assert names(submission) == {"lab1": "my.ipynb"}
    assert submission.files == (tmp_path / "my.ipynb", tmp_path / "helper.py")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "none does not exist; --submission takes the folder with the notebooks, or one notebook"),
        (
            "hw2.zip",
            "hw2.zip is not a notebook; --submission takes the folder with the notebooks, or one notebook (unpack",
        ),
        ("report.pdf", "report.pdf is not a notebook; --submission takes the folder"),
    ],
)
def test_what_is_no_submission(tmp_path: Path, name: str, message: str) -> None:
    for file in ("hw2.zip", "report.pdf"):
        (tmp_path / file).write_bytes(b"x")
    with pytest.raises(SubmissionError) as raised:
        find_submission(tmp_path / name)
    assert str(raised.value).startswith(f"{tmp_path}/{message}")
