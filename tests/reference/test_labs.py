"""The three labs as commands: records, plots, answers that follow from the runs, errors in one sentence."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fixtures import embedded
from reference import cli, lab1, lab2, lab3, training
from reference.experiment import Plan, Run, jobs
from reference.layers import layers
from reference.models import ResNet20, SimpleNN
from reference.record import plain
from reference.summary import compare, prediction_width, standard_error, summary
from reference.training import History, Recipe

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of the course's layout with 200 training, 100 validation and 30 test images."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, count in (("train", 200), ("val", 100), ("test", 30)):
        labels = rng.permutation(np.arange(count, dtype=np.uint8) % 10)
        np.save(root / f"{split}-images-batch.npy", embedded.draw(labels, rng))
        if split != "test":
            np.save(root / f"{split}-labels-batch.npy", labels)
    return root


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def record(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def run_of(accuracies: list[float], recipe: Recipe | None = None, net: nn.Module | None = None) -> Run:
    """A run whose training and validation accuracies are as given."""
    count = len(accuracies)
    history = History(2.3, [1.0] * count, accuracies, [1.0] * count, accuracies, [0.01] * count, 1.0)
    return Run(recipe or Recipe(), history, net or SimpleNN())


# Layers


def test_layers_of_simplenn_in_order_with_shapes_parameters_and_multiply_adds() -> None:
    rows = {layer.name: layer for layer in layers(SimpleNN())}
    assert rows["conv1"].output_shape == (8, 28, 28)
    assert rows["conv1"].multiply_adds == 8 * 28 * 28 * 75
    assert rows["conv2"].parameters == 1168
    assert rows["fc1"].multiply_adds == 576 * 120
    assert [layer.name for layer in layers(SimpleNN())][:4] == ["conv1", "bn1", "act1", "pool"]


def test_layers_count_a_module_that_runs_twice_once_and_restore_the_mode() -> None:
    net = nn.Sequential(shared := nn.Linear(3, 3), nn.ReLU(), shared)
    assert [layer.parameters for layer in layers(net.train(), (3,))] == [12, 0, 0]
    assert net.training


def test_resnet20_multiply_adds() -> None:
    assert sum(layer.multiply_adds for layer in layers(ResNet20("A"))) == 40_550_400 + 640


# Comparisons


def test_compare_of_single_seeds_takes_the_binomial_distribution() -> None:
    margin = 1.96 * math.sqrt(2) * standard_error(0.7, 5000)
    base = summary([0.7])
    assert compare(summary([0.7 + 0.9 * margin]), base, 5000) == "not told apart"
    assert compare(summary([0.7 + 1.1 * margin]), base, 5000) == "higher"
    assert compare(summary([0.7 - 1.1 * margin]), base, 5000) == "lower"


def test_compare_of_several_seeds_takes_the_difference_of_each_pair() -> None:
    # The seeds differ by more than the recipes, but each pair tells the same; n = 3, t = 4.303.
    low = summary([0.60, 0.65, 0.70])
    assert compare(summary([0.62, 0.67, 0.71]), low, 5000) == "higher"
    assert compare(summary([0.58, 0.63, 0.69]), low, 5000) == "lower"
    assert compare(summary([0.62, 0.64, 0.70]), low, 5000) == "not told apart"
    # Mean 0.01, deviation d: the interval is 4.303 * d / sqrt(3) wide, 0.00994 for d = 0.004 and 0.0124 for d = 0.005.
    assert compare(summary([0.606, 0.66, 0.714]), low, 5000) == "higher"
    assert compare(summary([0.605, 0.66, 0.715]), low, 5000) == "not told apart"


def test_one_value_more_may_lie_far_away_where_there_are_few() -> None:
    assert prediction_width(3) == pytest.approx(4.303 * math.sqrt(4 / 3))
    assert prediction_width(50) == pytest.approx(1.98, abs=0.01)


def test_summary_has_the_deviation_of_a_sample() -> None:
    values = summary([0.1, 0.2, 0.3])
    assert (values.mean, values.std, values.n) == (pytest.approx(0.2), pytest.approx(0.1), 3)
    assert str(values) == "20.0% ± 10.0"
    assert str(summary([0.123])) == "12.3%"
    with pytest.raises(ValueError, match="at least one value"):
        summary([])


def test_what_json_cannot_hold_is_replaced() -> None:
    assert plain({"loss": [1.0, math.nan, math.inf], "n": 3}) == {"loss": [1.0, None, None], "n": 3}
    assert plain(summary([0.5])) == {"mean": 0.5, "std": 0.0, "n": 1, "values": [0.5]}


def test_jobs_group_what_trains_together_seed_by_seed() -> None:
    recipe = Recipe()
    plans = {
        "a": Plan(SimpleNN, recipe, group="both"),
        "alone": Plan(SimpleNN, recipe, seeds=1),
        "b": Plan(SimpleNN, recipe, group="both"),
    }
    planned = jobs(plans, (3, 4))
    assert [(job.name, job.seed, list(job.plans)) for job in planned] == [
        ("both", 3, ["a", "b"]),
        ("alone", 3, ["alone"]),
        ("both", 4, ["a", "b"]),
    ]
    assert {plan.recipe.seed for plan in planned[2].plans.values()} == {4}


def test_mean_change() -> None:
    assert lab1.mean_change([0.5, 0.7, 0.6]) == pytest.approx(0.15)
    assert lab1.mean_change([0.5]) == 0.0


@pytest.mark.parametrize(
    ("net", "accuracies", "rate"), [("bn", [0.1, 0.68, 0.71], 0.1), ("no-bn", [0.1, 0.1, 0.67], 0.05)]
)
def test_largest_usable_rate_follows_the_numbers(net: str, accuracies: list[float], rate: float) -> None:
    runs = {f"{net}-lr-{lr:g}": [run_of([best])] for lr, best in zip((1.0, 0.1, 0.05), accuracies, strict=True)}
    assert lab2.largest_usable_rate(runs | {f"{net}-lr-0.01": [run_of([0.70])]}, net) == rate


def test_distribution_counts_weights_near_zero_and_leaves_biases_out() -> None:
    net = SimpleNN(batch_norm=True)
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.0 if parameter.ndim == 1 else 0.05)
    assert lab2.distribution([run_of([0.5], net=net)])["near_zero"].mean == 0.0
    nn.init.zeros_(net.fc1.weight)
    figures = lab2.distribution([run_of([0.5], net=net)])
    assert figures["near_zero"].mean == pytest.approx(576 * 120 / 81_792)
    assert sum(figures["histogram"]) == 81_792


# Commands


def test_lab1_answers_every_question(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = [
        "--data",
        str(data),
        "--epochs",
        "3",
        "--out",
        str(out),
        "--seed",
        "2",
        "--seeds",
        "2",
        "--device",
        "cpu",
    ]
    assert lab1.main(arguments) == 0
    result = record(out / "lab1.json")
    assert list(result["answers"]) == [f"lab1.{letter}" for letter in "abcdefgh"]
    assert result["command"].startswith("python -m reference.lab1 --data")
    assert result["seeds"] == [run["seed"] for run in result["runs"]["decay"]["seeds"]] == [2, 3]
    assert result["hardware"]["processor"]
    assert set(result["versions"]) == {"python", "torch", "numpy"}
    answers = result["answers"]
    assert answers["lab1.a"]["parameters"] == 82_030
    assert answers["lab1.a"]["agree"] is True
    assert answers["lab1.c"]["train_batches"] == 2
    assert answers["lab1.c"]["last_train_batch"] == 72
    assert answers["lab1.d"]["parameter_devices"] == ["cpu"]
    assert answers["lab1.f"]["checkpoint_keys"] == ["state_dict", "epoch", "lr"]
    assert answers["lab1.g"]["initial_loss"]["mean"] == pytest.approx(math.log(10), abs=0.05)
    constant, decay = result["runs"]["constant"], result["runs"]["decay"]
    assert constant["seeds"][0]["lr"] == [0.01] * 3
    assert decay["seeds"][0]["lr"] == pytest.approx([0.01, 0.001, 0.0001])
    bests = [max(run["val_accuracy"]) for run in constant["seeds"]]
    assert constant["best_val_accuracy"]["values"] == pytest.approx(bests, abs=1e-5)
    assert constant["best_val_accuracy"]["mean"] == pytest.approx(sum(bests) / 2, abs=1e-5)
    assert constant["best_val_accuracy"]["std"] == pytest.approx(abs(bests[0] - bests[1]) / math.sqrt(2), abs=1e-5)
    assert (out / "lab1.png").read_bytes().startswith(PNG)
    printed = capsys.readouterr().out
    assert all(f"lab1.{letter}  " in printed for letter in "abcdefgh")


def test_lab1_preprocessing_figures_are_those_of_the_images(data: Path) -> None:
    splits = training.load_splits(data)
    figures = lab1.preprocessing_check(splits)
    pixels = splits.train_images.numpy() / 255
    np.testing.assert_allclose(figures["raw_mean"], pixels.mean(axis=(0, 1, 2)), rtol=1e-5)
    normalised = (pixels - np.array([0.4914, 0.4822, 0.4465])) / np.array([0.2023, 0.1994, 0.2010])
    np.testing.assert_allclose(figures["mean"], normalised.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(figures["std"], normalised.std(axis=(0, 1, 2)), rtol=1e-5)


@pytest.mark.slow
def test_lab2_answers_every_question_and_trains_shared_runs_once(data: Path, tmp_path: Path) -> None:
    assert lab2.main(["--data", str(data), "--epochs", "1", "--out", str(tmp_path), "--device", "cpu"]) == 0
    result = record(tmp_path / "lab2.json")
    items = ["lab2.a", "lab2.b.bn", "lab2.b.lr", "lab2.b.swish", "lab2.c.lr", "lab2.c.l2", "lab2.c.l1"]
    assert list(result["answers"]) == items
    recipes = {name: run["recipe"] for name, run in result["runs"].items()}
    assert len(recipes) == 18
    assert [name for name, recipe in recipes.items() if not recipe["augment"]] == ["no-augmentation"]
    assert recipes["swish-lr-0.1"]["lr"] == 0.1
    assert sorted(recipes[lab2.rate_run(lr)]["lr"] for lr in lab2.LEARNING_RATES) == sorted(lab2.LEARNING_RATES)
    assert [recipes[lab2.l2_run(s)]["weight_decay"] for s in lab2.L2_STRENGTHS] == list(lab2.L2_STRENGTHS)
    assert {recipes[lab2.l2_run(s)]["lr"] for s in lab2.L2_STRENGTHS} == {0.01}
    assert [(recipes[lab2.l1_run(s)]["l1"], recipes[lab2.l1_run(s)]["weight_decay"]) for s in lab2.L1_STRENGTHS] == [
        (1e-4, 0.0),
        (1e-5, 0.0),
    ]
    for name in ("lab2-design.png", "lab2-hyperparameters.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)


def test_lab2_builds_the_nets_that_it_names() -> None:
    plans = lab2.plans(cli.parser(lab2.LAB).parse_args(["--epochs", "1", "--no-bfloat16"]))
    kinds = {name: {type(module).__name__ for module in plan.make_net().modules()} for name, plan in plans.items()}
    assert all(("BatchNorm2d" in kinds[name]) != name.startswith("no-") for name in plans)
    assert [name for name in plans if "Swish" in kinds[name]] == ["swish-lr-0.1"]
    assert "ReLU" not in kinds["swish-lr-0.1"]


@pytest.mark.parametrize("option", ["A", "B"])
def test_lab3_writes_the_predictions_of_its_best_net(data: Path, tmp_path: Path, option: str) -> None:
    arguments = ["--data", str(data), "--epochs", "1", "--out", str(tmp_path), "--option", option, "--device", "cpu"]
    assert lab3.main(arguments) == 0
    result = record(tmp_path / "lab3.json")
    assert result["answers"]["lab3.a"]["parameters"] == {"A": 269_722, "B": 272_474}[option]
    assert result["answers"]["lab3.b"]["bar_met"] is False
    assert (tmp_path / "lab3.png").read_bytes().startswith(PNG)
    lines = (tmp_path / "predictions.csv").read_text(encoding="ascii").splitlines()
    assert lines[0] == "Id,Label"
    assert [line.partition(",")[0] for line in lines[1:]] == [str(number) for number in range(30)]
    assert all(line.partition(",")[2] in set("0123456789") for line in lines[1:])


def lab3_recipes(*arguments: str, train_images: int = 100) -> dict[str, Recipe]:
    options = cli.parser(lab3.LAB).parse_args(["--no-bfloat16", "--device", "cpu", *arguments])
    options.train_images = train_images
    return {name: plan.recipe for name, plan in lab3.plans(options).items()}


def test_lab3_recipes() -> None:
    course = lab3_recipes("--epochs", "200", "--recipe", "course")["resnet20"]
    assert course == Recipe(epochs=200, lr=0.1, augment=True, decay_epochs=80, channels_last=True)
    best = lab3_recipes("--epochs", "200")["resnet20"]
    assert (best.schedule, best.decay_epochs, best.nesterov, best.weight_decay) == ("one_cycle", None, True, 5e-4)
    assert (best.label_smoothing, best.flip_test) == (0.1, True)


@pytest.mark.parametrize(("epochs", "images", "average"), [(100, 45_000, 0.999), (8, 45_000, 0.9875), (1, 100, 0.5)])
def test_lab3_averages_over_the_same_share_of_any_run(
    epochs: int, images: int, average: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab3, "can_compile", lambda device: False)
    assert lab3_recipes("--epochs", str(epochs), train_images=images)["resnet20"].average == pytest.approx(average)


def test_lab3_compiles_where_that_pays_back_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    for works in (True, False):
        monkeypatch.setattr(lab3, "can_compile", lambda device, works=works: works)
        assert lab3_recipes("--epochs", "3", train_images=45_000)["resnet20"].compiled is works
        assert lab3_recipes("--epochs", "2", train_images=45_000)["resnet20"].compiled is False


@pytest.mark.slow
def test_lab3_compares_each_change_of_the_recipe(data: Path, tmp_path: Path) -> None:
    arguments = ["--data", str(data), "--epochs", "4", "--compare", "1", "--seeds", "2", "--out", str(tmp_path)]
    assert lab3.main([*arguments, "--device", "cpu"]) == 0
    result = record(tmp_path / "lab3.json")
    rows = result["answers"]["lab3.b"]["changes"]
    assert [row["change"] for row in rows] == list(lab3.CHANGES)
    assert [row["val_accuracy"]["n"] for row in rows] == [2] * 6
    trained = ["resnet20", "step decay", "one-cycle", "Nesterov, weight decay 5e-4", "flip at test time"]
    assert list(result["runs"]) == trained
    (long,) = result["runs"]["resnet20"]["seeds"]
    validated = result["answers"]["lab3.b"]["last_val_accuracy"]
    assert validated["flip at test time"]["values"] == pytest.approx(long["val_accuracy"][-1:], abs=1e-5)
    last = [run["val_accuracy"][-1] for run in result["runs"]["flip at test time"]["seeds"]]
    assert rows[-1]["val_accuracy"]["values"] == pytest.approx(last, abs=1e-5)


@pytest.mark.slow
def test_without_data_a_lab_runs_on_the_embedded_data(tmp_path: Path) -> None:
    assert lab1.main(["--epochs", "4", "--out", str(tmp_path)]) == 0
    result = record(tmp_path / "lab1.json")
    assert (result["data"]["train_images"], result["data"]["val_images"]) == (5000, 1000)
    assert result["answers"]["lab1.g"]["best_val_accuracy"]["mean"] > 0.5


def test_resume_goes_on_from_the_checkpoints(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--data", str(data), "--epochs", "1", "--out", str(tmp_path)]
    assert lab1.main(arguments) == 0
    before = record(tmp_path / "lab1.json")["runs"]

    def no_training(*_: object) -> None:
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr(training, "train_epoch", no_training)
    assert lab1.main([*arguments, "--resume"]) == 0
    assert record(tmp_path / "lab1.json")["runs"] == before


# Errors


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on standard error."""
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    return line


def test_missing_data_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab1.main(["--data", str(tmp_path / "absent"), "--out", str(tmp_path / "out")]) == 2
    assert "train-images-batch.npy" in error_of(capsys)
    assert not (tmp_path / "out").exists()


def test_wrong_data_is_one_sentence(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in data.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    np.save(tmp_path / "val-images-batch.npy", np.zeros((100, 3, 32, 32), dtype=np.uint8))
    assert lab2.main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "expected uint8 images (N, 32, 32, 3), found uint8 (100, 3, 32, 32)" in error_of(capsys)


def test_an_interrupted_lab_says_how_to_go_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--data", str(data), "--epochs", "1", "--out", str(tmp_path)]
    train_epoch = training.train_epoch

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_epoch", interrupted)
    assert lab1.main(arguments) == 130
    assert "error: interrupted; the same command with --resume goes on" in capsys.readouterr().err
    monkeypatch.setattr(training, "train_epoch", train_epoch)
    assert lab1.main([*arguments, "--resume"]) == 0


def test_a_gpu_that_is_not_there_is_one_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert lab3.main(["--data", str(data), "--out", str(tmp_path), "--device", "cuda"]) == 2
    assert "expected a GPU for 'cuda', found none" in error_of(capsys)


def test_an_output_folder_that_is_a_file_is_one_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert lab1.main(["--data", str(data), "--out", str(tmp_path / "file")]) == 2
    assert "file" in error_of(capsys)


@pytest.mark.parametrize("epochs", ["0", "-3", "many"])
def test_epochs_that_make_no_sense_are_refused(epochs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_status:
        lab1.main(["--epochs", epochs])
    assert exit_status.value.code == 2
    assert "Traceback" not in (message := capsys.readouterr().err)
    assert epochs in message
