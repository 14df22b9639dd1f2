"""The generated documents: every question has its section, and every number and verdict is that of the records."""

import json
import re
import shutil
import statistics
import tomllib
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from reference import __main__, cli, documents, lab1, lab2, lab3
from reference.documents.findings import FINDINGS
from reference.experiment import Run, Runs, Setting
from reference.models import ResNet20
from reference.record import make_record, plain, write_record
from reference.summary import summary
from reference.training import History, Splits

RESULTS = Path(__main__.__file__).parent / "results"
SEEDS = (0, 1, 2)
Accuracy = Callable[[str], float]


def splits_of(count: int = 200) -> Splits:
    images = torch.zeros(count, 32, 32, 3, dtype=torch.uint8)
    labels = torch.arange(count) % 10
    return Splits(images, labels, images[:100], labels[:100])


def setting_of(out: Path) -> Setting:
    return Setting(out, 4, SEEDS, "cpu", out)


def runs_of(plans: Mapping[str, Any], accuracy: Accuracy) -> Runs:
    """Runs of four epochs whose best validation accuracy is the third epoch's, `accuracy` and a little per seed."""
    return {name: [run_of(plan, accuracy(name) + 0.003 * seed, seed) for seed in SEEDS] for name, plan in plans.items()}


def run_of(plan: Any, best: float, seed: int = 0) -> Run:
    validation = [best - 0.06, best - 0.02, best, best - 0.01]
    training = [best - 0.1, best, best + 0.05, best + 0.09]
    history = History(2.31, [1.5, 1.2, 1.0, 0.9], training, [1.3, 1.0, 1.1, 1.2], validation, [plan.recipe.lr] * 4, 6.0)
    return Run(replace(plan.recipe, seed=seed), history, net_of(plan.make_net, plan.recipe.l1))


@cache
def net_of(make_net: Callable[[], nn.Module], l1: float) -> nn.Module:
    """The net as it starts; where an L1 penalty would have acted, the weights of a layer are zero."""
    net = make_net()
    if l1:
        nn.init.zeros_(net.get_submodule("fc2").weight)
    return net


def lab1_record(out: Path, accuracy: Accuracy) -> dict[str, Any]:
    runs = runs_of(lab1.plans(Namespace(epochs=4, bfloat16=False)), accuracy)
    torch.save({"state_dict": {}, "epoch": 2, "lr": 0.01}, out / "constant-seed0.pth")
    setting, splits = setting_of(out), splits_of()
    return make_record("lab1", "python -m reference.lab1", setting, splits, runs, lab1.answers(setting, splits, runs))


def lab2_record(out: Path, accuracy: Accuracy) -> dict[str, Any]:
    runs = runs_of(lab2.plans(Namespace(epochs=4, bfloat16=False)), accuracy)
    setting, splits = setting_of(out), splits_of()
    return make_record("lab2", "python -m reference.lab2", setting, splits, runs, lab2.answers(setting, splits, runs))


def lab3_record(out: Path, best: float = 0.912, changes: tuple[float, ...] = (0.80, 0.85, 0.84)) -> dict[str, Any]:
    options = cli.parser(lab3.LAB).parse_args(["--epochs", "4", "--no-bfloat16", "--device", "cpu"])
    options.train_images = 200
    runs = {name: [run_of(plan, best)] for name, plan in lab3.plans(options).items()}
    answer = {
        "answer": "Trained.",
        "best_val_accuracy": best,
        "best_val_accuracy_standard_error": 0.004,
        "last_val_accuracy": {"averaged weights": summary([best - 0.01])},
        "epochs": 4,
        "seconds": 600.0,
        "bar": 0.9,
        "bar_met": best >= 0.9,
        "changes": [
            {"change": name, "val_accuracy": summary([value, value + 0.002]), "epochs": 2}
            for name, value in zip(lab3.CHANGES, changes, strict=False)
        ],
    }
    answers = {"lab3.a": lab3.architecture(ResNet20()), "lab3.b": answer}
    return make_record("lab3", "python -m reference.lab3", setting_of(out), splits_of(), runs, answers)


def typical(name: str) -> float:
    """Accuracies as one would expect them, by run."""
    return {"decay": 0.68, "bn-lr-1": 0.10, "no-bn-lr-1": 0.10, "no-bn-lr-0.1": 0.10, "bn-lr-0.05": 0.72}.get(
        name, 0.66
    )


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with every record."""
    results = tmp_path_factory.mktemp("reference") / "results"
    results.mkdir()
    scratch = tmp_path_factory.mktemp("scratch")
    write_record(lab1_record(scratch, typical), results / "lab1.json")
    write_record(lab2_record(scratch, typical), results / "lab2.json")
    write_record(lab3_record(scratch), results / "lab3.json")
    write_record(documents.part1_record(), results / "part1.json")
    shutil.copyfile(RESULTS / "data.json", results / "data.json")
    heldout = {"accuracy": 0.9012, "correct": 9012, "n": 10_000, "interval": [0.8952, 0.9069], "recall": [0.9] * 9}
    write_record(heldout | {"recall": [*heldout["recall"], None]}, results / "heldout.json")
    (results / "lab1.png").write_bytes(b"")
    return results


@pytest.fixture
def results(full: Path, tmp_path: Path) -> Path:
    """The same in a folder of its own, to change."""
    shutil.copytree(full, tmp_path / "reference" / "results")
    return tmp_path / "reference" / "results"


def record(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def section(text: str, heading: str) -> str:
    """From a heading that starts so to the next heading."""
    found = re.search(rf"^#+ {re.escape(heading)}.*?(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found.group()


def row(text: str, *first: str) -> list[str]:
    """Cells of the table's only row that begins with these cells."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    (found,) = [cells for cells in rows if cells[: len(first)] == list(first)]
    return found


def lab(text: str, number: int) -> str:
    return text.split(f"## Lab {number}:")[1].split("\n## ")[0]


# Sections


def test_every_question_has_its_section_with_question_answer_and_reason(full: Path) -> None:
    text = documents.documents(full)["ANSWERS.md"]
    for problem in range(1, 11):
        assert re.search(r"\*\*(True|False)\.\*\* \w", section(text, f"Problem 1.{problem}:"))
    headings = {
        1: [f"({letter}) " for letter in "abcdefgh"],
        2: ["(a) ", *(f"({letter}) part {part}: " for letter in "bc" for part in (1, 2, 3))],
        3: ["(a) ", "(b) "],
    }
    for number, wanted in headings.items():
        assert [
            line[4:] for line in re.findall(r"^### \(\w\)(?: part \d:)? ", lab(text, number), re.MULTILINE)
        ] == wanted
        for heading in wanted:
            found = section(lab(text, number), heading)
            assert re.search(r"^\*[^*].*\?\*$|^\*[^*].*\.\*$", found, re.MULTILINE)
            assert "**Answer.** " in found
            assert "**Why.** " in found


def test_each_answer_is_the_sentence_of_its_record(full: Path) -> None:
    text = documents.documents(full)["ANSWERS.md"]
    for name in ("lab1", "lab2", "lab3"):
        for item, answer in record(full / f"{name}.json")["answers"].items():
            assert f"**Answer.** {answer['answer']}\n" in text, item


def test_prose_findings_and_labs_have_the_same_items(full: Path) -> None:
    prose = tomllib.loads((RESULTS.parent / "documents" / "prose.toml").read_text(encoding="utf-8"))
    answered = [item for name in ("lab1", "lab2", "lab3") for item in record(full / f"{name}.json")["answers"]]
    assert list(prose) == list(FINDINGS) == answered


def test_the_assignments_sentences_are_not_copied() -> None:
    prose = tomllib.loads((RESULTS.parent / "documents" / "prose.toml").read_text(encoding="utf-8"))
    assert all(len(text["question"].split()) <= 20 for text in prose.values())


def test_both_documents_say_that_they_are_generated_and_come_out_the_same_again(full: Path) -> None:
    made = documents.documents(full)
    assert list(made) == ["README.md", "ANSWERS.md"]
    assert all(
        text.startswith("<!-- Generated by `python -m reference documents`; do not edit. -->\n")
        for text in made.values()
    )
    assert documents.documents(full) == made


def test_tables_are_tidy(full: Path) -> None:
    for text in documents.documents(full).values():
        for block in text.split("\n\n"):
            lines = block.splitlines()
            if block.startswith("|"):
                assert len({len(line) for line in lines}) == 1, lines[0]
                assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, lines[0]
        assert "None" not in text
        assert not re.search(r"\bnan\b|[{}]", text)


# Numbers


def test_a_run_has_mean_and_deviation_of_its_seeds(full: Path) -> None:
    run = record(full / "lab2.json")["runs"]["bn-lr-0.05"]
    text = lab(documents.documents(full)["README.md"], 2)
    expected = []
    for values in (
        [max(seed["val_accuracy"]) for seed in run["seeds"]],
        [seed["val_accuracy"][-1] for seed in run["seeds"]],
        [seed["train_accuracy"][-1] for seed in run["seeds"]],
        [seed["train_accuracy"][-1] - seed["val_accuracy"][-1] for seed in run["seeds"]],
    ):
        expected.append(f"{100 * statistics.fmean(values):.2f} ± {100 * statistics.stdev(values):.2f}")
    assert row(text, "bn-lr-0.05") == ["bn-lr-0.05", "0.05", "0.0001", "0", "yes", "3", *expected, "1.200 ± 0.000"]
    assert expected[0] == "72.30 ± 0.30"


def test_a_single_seed_has_no_deviation(full: Path) -> None:
    text = documents.documents(full)["README.md"]
    assert row(text, "resnet20")[1:3] == ["1", "91.20"]
    assert row(text, "lab3.b")[2:] == ["91.20%", "1", "", "90% met"]


def test_the_overview_has_every_comparison_with_its_verdict_and_bar(full: Path) -> None:
    text = documents.documents(full)["README.md"].split("\n## ")[0]
    answers = record(full / "lab2.json")["answers"]
    assert row(text, "lab1.h")[2:] == ["68.30% ± 0.30, 66.30% ± 0.30", "3", "higher", "65% met"]
    assert row(text, "lab2.a")[2:] == ["66.30% ± 0.30, 66.30% ± 0.30", "3", answers["lab2.a"]["verdict"], ""]
    assert row(text, "lab2.b.lr")[2:] == ["0.1, 0.05", "3", "higher", ""]
    assert row(text, "lab2.c.lr")[1:] == ["best of 6 learning rates: 0.05", "72.30% ± 0.30", "3", "", "70% met"]
    assert row(text, "held-out")[2] == "90.12% (89.52% to 90.69%)"
    assert row(text, "part1")[2] == "8 of 10 the same"
    assert {"lab2.b.bn", "lab2.b.swish", "lab2.c.l2", "lab2.c.l1", "lab3.a"} <= set(re.findall(r"lab\d\.[\w.]+", text))


def test_changes_of_the_recipe_have_what_each_gave(full: Path) -> None:
    for text in documents.documents(full).values():
        assert row(text, "step decay") == ["step decay", "2", "2", "80.10 ± 0.14", ""]
        assert row(text, "one-cycle") == ["one-cycle", "2", "2", "85.10 ± 0.14", "+5.00"]
        assert row(text, "Nesterov, weight decay 5e-4")[-1] == "-1.00"
    found = section(lab(documents.documents(full)["ANSWERS.md"], 3), "(b)")
    assert "changes by +4.0 points in runs of 2 epochs (2 seeds)" in found
    assert 'largest gain of the means is "one-cycle"' in found


def test_wall_time_is_summed(full: Path) -> None:
    text = documents.documents(full)["README.md"]
    minutes = {name: record(full / f"{name}.json")["seconds"] / 60 for name in ("lab1", "lab2", "lab3")}
    for name, each in minutes.items():
        seeds = "0" if name == "lab3" else "0, 1, 2"
        assert row(text, name)[1:3] == [f"{each:.1f}", seeds]
    assert row(text, "all", f"{sum(minutes.values()):.1f}")
    assert "python -m reference.lab2\n" in text
    assert "python -m reference repeat lab2 bn-lr-0.05 --data DIR --seed 7" in text


def test_layer_tables_end_with_the_totals(full: Path) -> None:
    text = documents.documents(full)["ANSWERS.md"]
    assert row(section(lab(text, 1), "(a)"), "all")[3] == "82,030"
    assert row(section(lab(text, 3), "(a)"), "all")[3:] == ["269,722", "40,551,040"]
    assert row(section(lab(text, 1), "(a)"), "conv1") == ["conv1", "Conv2d", "8 × 28 × 28", "608", "470,400"]


def test_numbers_of_findings_are_those_of_the_record(full: Path) -> None:
    text = documents.documents(full)["ANSWERS.md"]
    answers = record(full / "lab2.json")["answers"]
    rows = {each["lr"]: each["last_train_accuracy"]["mean"] for each in answers["lab2.c.lr"]["table"]}
    assert f"({100 * rows[0.001]:.1f} against {100 * rows[0.05]:.1f}%)" in section(lab(text, 2), "(c) part 1")
    near = {name: run["near_zero"]["mean"] for name, run in answers["lab2.c.l1"]["runs"].items()}
    shown = section(lab(text, 2), "(c) part 3")
    assert f"{100 * near['l1-0.0001']:.1f}% of the weights end near zero with L1" in shown
    assert f"{100 * near['bn-lr-0.01']:.1f}% with L2" in shown
    gap = record(full / "lab1.json")["answers"]["lab1.g"]["gap"]["mean"]
    assert f"ends {100 * gap:.1f} points above" in section(lab(text, 1), "(g)")


def test_evidence_of_part_1(full: Path) -> None:
    text = documents.documents(full)["ANSWERS.md"]
    part1 = record(full / "part1.json")
    ratio = part1["part1.8"]["evidence"]["total"]["resnet20"]
    assert row(text, "ratio of multiply-adds, all 3×3 layers: resnet20")[1] == f"{ratio:.3g}"
    share = part1["part1.9"]["evidence"]["share_of_second_half"]
    assert row(text, "multiply-adds in the second half of the layers, %")[1] == f"{100 * share:.1f}"
    assert "The lectures take it for true." in section(text, "Problem 1.8:")
    assert "The lectures take it" not in section(text, "Problem 1.1:").split("*Arguable")[0]


def test_a_class_that_no_image_has_shows_no_recall(full: Path) -> None:
    assert row(lab(documents.documents(full)["ANSWERS.md"], 3), "9") == ["9", "-"]


def test_a_loss_that_diverged_is_called_so(results: Path) -> None:
    content = record(results / "lab2.json")
    seeds = content["runs"]["no-bn-lr-1"]["seeds"]
    seeds[0]["val_loss"][-1] = None
    write_record(content, results / "lab2.json")
    assert row(lab(documents.documents(results)["README.md"], 2), "no-bn-lr-1")[-1] == "diverged (1 of 3)"
    for seed in seeds:
        seed["val_loss"][-1] = None
    write_record(content, results / "lab2.json")
    assert row(lab(documents.documents(results)["README.md"], 2), "no-bn-lr-1")[-1] == "diverged"


def test_lossy_images_are_mentioned_once_and_only_where_they_are(results: Path) -> None:
    assert documents.documents(results)["README.md"].count("JPEG") == 1
    (results / "data.json").unlink()
    assert "JPEG" not in documents.documents(results)["README.md"]


# Words that depend on the numbers

VERDICTS = {
    "higher": (0.03, "Swish outperforms ReLU here."),
    "lower": (-0.03, "Swish does not outperform ReLU here: it is lower."),
    "not told apart": (0.0, "These seeds show no difference: Swish does not outperform ReLU here."),
}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_words_follow_the_verdict(results: Path, tmp_path: Path, verdict: str) -> None:
    difference, sentence = VERDICTS[verdict]
    swish = typical("bn-lr-0.1") + difference
    content = lab2_record(tmp_path, lambda name: swish if name == "swish-lr-0.1" else typical(name))
    assert content["answers"]["lab2.b.swish"]["verdict"] == verdict
    write_record(content, results / "lab2.json")
    made = documents.documents(results)
    shown = section(lab(made["ANSWERS.md"], 2), "(b) part 3")
    assert [other for _, other in VERDICTS.values() if f"**Findings.** {other}" in shown] == [sentence]
    assert row(made["README.md"], "lab2.b.swish")[4] == verdict


@pytest.mark.parametrize(
    ("accuracies", "sentence"),
    [
        ({"no-bn-lr-0.1": 0.1}, "Yes: the largest usable learning rate is 0.1 with BN against 0.05 without."),
        ({"no-bn-lr-0.1": 0.66}, "By this measure no: the largest usable learning rate is 0.1 with BN and without."),
        (
            {"bn-lr-0.1": 0.5, "no-bn-lr-0.1": 0.66},
            "By this measure no: the largest usable learning rate is 0.05 with BN",
        ),
    ],
)
def test_larger_rates_with_bn(results: Path, tmp_path: Path, accuracies: dict[str, float], sentence: str) -> None:
    write_record(lab2_record(tmp_path, lambda name: accuracies.get(name, typical(name))), results / "lab2.json")
    assert sentence in section(lab(documents.documents(results)["ANSWERS.md"], 2), "(b) part 2")


@pytest.mark.parametrize(
    ("best", "sentence"),
    [
        (1.0, "The best rate is the largest of those tried, 1;"),
        (0.001, "The best rate is the smallest of those tried, 0.001;"),
        (0.05, "The best rate, 0.05, is neither the largest nor the smallest"),
    ],
)
def test_place_of_the_best_rate(results: Path, tmp_path: Path, best: float, sentence: str) -> None:
    write_record(lab2_record(tmp_path, lambda name: 0.73 if name == f"bn-lr-{best:g}" else 0.66), results / "lab2.json")
    assert sentence in section(lab(documents.documents(results)["ANSWERS.md"], 2), "(c) part 1")


def test_a_strength_that_costs_accuracy(results: Path, tmp_path: Path) -> None:
    write_record(lab2_record(tmp_path, lambda name: 0.5 if name == "l2-0.01" else 0.66), results / "lab2.json")
    shown = section(lab(documents.documents(results)["ANSWERS.md"], 2), "(c) part 2")
    assert "The strongest penalty, 0.01, costs accuracy" in shown
    assert "4 of the 5 strengths, the best included, are not told apart" in shown
    write_record(lab2_record(tmp_path, lambda name: 0.7 if name == "l2-0" else 0.66), results / "lab2.json")
    shown = section(lab(documents.documents(results)["ANSWERS.md"], 2), "(c) part 2")
    assert "No other of the 5 strengths comes within noise of the best" in shown


def test_bars_follow_the_record(results: Path, tmp_path: Path) -> None:
    assert "Bar of 90% validation accuracy: met." in documents.documents(results)["ANSWERS.md"]
    write_record(lab3_record(tmp_path, best=0.873, changes=()), results / "lab3.json")
    made = documents.documents(results)
    assert "Bar of 90% validation accuracy: not met." in made["ANSWERS.md"]
    assert row(made["README.md"], "lab3.b")[-1] == "90% not met"
    assert "Shorter runs" not in made["README.md"]


def test_every_conditional_text_is_used_for_some_record(full: Path, tmp_path: Path) -> None:
    """And no record asks for a text that is not there."""
    prose = tomllib.loads((RESULTS.parent / "documents" / "prose.toml").read_text(encoding="utf-8"))
    texts = {(item, name) for item, text in prose.items() for name in text.get("when", {})}
    kinds = [typical, lambda name: 0.66, *(partial(one_stands_out, better) for better in STANDING_OUT)]
    records = [make(tmp_path, accuracy) for accuracy in kinds for make in (lab1_record, lab2_record)]
    found = {
        (item, name)
        for content in [*records, record(full / "lab3.json")]
        for item, answer in content["answers"].items()
        for name in FINDINGS[item](answer, content)
    }
    assert found <= texts
    assert texts - found == NOT_MADE_HERE


STANDING_OUT = (
    {"bn-lr-1": 0.75, "no-augmentation": 0.7, "bn-lr-0.01": 0.64, "swish-lr-0.1": 0.7},
    {"bn-lr-0.001": 0.75, "decay": 0.6, "no-augmentation": 0.6, "bn-lr-0.01": 0.7, "swish-lr-0.1": 0.6},
    {"bn-lr-1": 0.1, "bn-lr-0.1": 0.5, "l2-0": 0.75, "l2-0.01": 0.5},
)
# What a net that was built wrongly, other data, or weights of other nets would bring up.
NOT_MADE_HERE = {
    ("lab1.a", "differ"),
    ("lab1.b", "wider"),
    ("lab1.c", "unbalanced"),
    ("lab1.h", "steadier"),
    ("lab1.h", "keeps"),
    ("lab2.a", "gap_smaller"),
    ("lab2.b.lr", "ahead"),
    ("lab2.c.l2", "gap_smaller"),
    ("lab2.c.l1", "not_sparser"),
}


def one_stands_out(better: Mapping[str, float], name: str) -> float:
    return better.get(name, 0.66)


# Missing and broken records


@pytest.mark.parametrize("name", ["lab1", "lab2", "lab3"])
def test_a_lab_that_was_not_measured_is_one_line(results: Path, name: str) -> None:
    (results / f"{name}.json").unlink()
    for text in documents.documents(results).values():
        lines = [line for line in lab(text, int(name[-1])).splitlines()[1:] if line and not line.startswith("![")]
        assert lines[0].startswith(f"Not measured: there is no `{name}.json`")
        assert f"\n| {name}." not in text


def test_plots_are_linked_where_they_are(full: Path) -> None:
    made = documents.documents(full)
    assert "](lab1.png)" in made["README.md"]
    assert "](results/lab1.png)" in made["ANSWERS.md"]
    assert "lab3.png" not in made["README.md"] + made["ANSWERS.md"]


def test_predictions_that_were_not_scored_are_one_line(results: Path) -> None:
    (results / "heldout.json").unlink()
    made = documents.documents(results)
    assert "Not scored: there is no `heldout.json` here." in made["README.md"]
    assert "Held-out images: not scored" in made["ANSWERS.md"]


@pytest.mark.parametrize("name", ["lab1.json", "lab2.json", "lab3.json", "part1.json", "data.json", "heldout.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"lab": 1}', '{"answers": [], "runs": {}, "part1.1": 3}', "\x00"])
def test_a_broken_record_is_one_sentence_with_its_name(results: Path, name: str, content: str) -> None:
    (results / name).write_text(content)
    with pytest.raises(ValueError, match=re.escape(f"{results / name}: ")) as error:
        documents.documents(results)
    assert "\n" not in str(error.value)


def test_part_1_is_needed(results: Path) -> None:
    (results / "part1.json").unlink()
    with pytest.raises(ValueError, match=r"part1\.json: expected the record of part 1, found no such file"):
        documents.documents(results)


# Files


def test_written_documents_are_in_step_until_one_changes(results: Path) -> None:
    assert documents.differences(results) == [
        f"{results / 'README.md'}: missing",
        f"{results.parent / 'ANSWERS.md'}: missing",
    ]
    assert documents.write(results) == [results / "README.md", results.parent / "ANSWERS.md"]
    assert documents.differences(results) == []
    assert (results / "README.md").read_bytes().decode() == documents.documents(results)["README.md"]
    assert not list(results.parent.rglob("*.part"))
    (results.parent / "ANSWERS.md").write_text("by hand")
    assert documents.differences(results) == [f"{results.parent / 'ANSWERS.md'}: differs from what the records give"]


def test_the_record_of_part_1_is_json_with_every_field() -> None:
    made = documents.part1_record()
    assert list(made) == [f"part1.{number}" for number in range(1, 11)]
    fields = {"statement", "verdict", "explanation", "sources", "lectures", "arguable", "evidence"}
    assert all(fields <= answer.keys() for answer in made.values())
    assert plain(made) == made


def test_the_reference_documents_are_in_step_with_its_records() -> None:
    assert documents.differences(RESULTS) == []
