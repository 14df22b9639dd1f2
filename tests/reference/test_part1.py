"""The ten true/false answers and the numbers behind them."""

import tomllib
from pathlib import Path

import pytest
import torch
from torch import nn

from reference import part1, part1_evidence
from reference.layers import layers

ROOT = Path(__file__).parents[2]
LECTURES = [False, True, False, False, False, True, True, True, True, True]  # 1.1 to 1.10


@pytest.fixture(scope="module")
def answers() -> dict[str, part1.Answer]:
    return part1.answers()


def test_ten_answers_in_order(answers: dict[str, part1.Answer]) -> None:
    assert list(answers) == [f"part1.{number}" for number in range(1, 11)]
    assert [answer.item for answer in answers.values()] == list(answers)


def test_verdicts_are_the_lectures_except_where_the_numbers_say_otherwise(answers: dict[str, part1.Answer]) -> None:
    assert [answer.lectures for answer in answers.values()] == LECTURES
    differ = [item for item, answer in answers.items() if answer.verdict != answer.lectures]
    assert differ == ["part1.8", "part1.9"]
    assert all(answers[item].arguable and answers[item].evidence for item in differ)


def plain(statement: str) -> str:
    """Editions differ in these characters."""
    return statement.replace("×", "x").rstrip(".")


def test_statements_are_those_of_the_rubric(answers: dict[str, part1.Answer]) -> None:
    rubric = tomllib.loads((ROOT / "grader" / "rubric.toml").read_text(encoding="utf-8"))
    for item, answer in answers.items():
        assert plain(answer.statement) == plain(rubric["items"][item]["text"])


def test_every_answer_explains_itself_in_two_to_four_sentences_with_sources(answers: dict[str, part1.Answer]) -> None:
    for answer in answers.values():
        sentences = answer.explanation.count(". ") + 1
        assert 2 <= sentences <= 4, answer.item
        assert answer.sources
        assert "{" not in answer.explanation + answer.arguable
        assert "\n" not in answer.explanation


def test_bn_outputs_have_mean_beta_and_not_zero() -> None:
    means = part1_evidence.bn_output_means()
    assert means["largest_difference_to_beta"] < 1e-5
    assert means["mean_absolute_output_mean"] == pytest.approx(means["mean_absolute_beta"], abs=1e-5)
    assert means["mean_absolute_output_mean"] > 0.5
    assert means["mean_absolute_output_mean_in_evaluation_with_beta_0"] > 0.5


def test_adam_equals_algorithm_1() -> None:
    assert part1_evidence.adam_difference() < 1e-12


def test_l1_is_sparse_and_l2_is_not() -> None:
    shares = part1_evidence.sparsity()
    assert shares["truth"] == 0.9
    assert min(shares["l1_proximal"], shares["l1_subgradient"]) > 0.8
    assert max(shares["l2"], shares["no_penalty"]) < 0.1


def test_ratio_of_operations_depends_on_output_channels_alone() -> None:
    for convolution in part1_evidence.resnet20_convolutions() + part1_evidence.resnet18_convolutions():
        assert convolution.ratio == pytest.approx(1 / (1 / convolution.out_channels + 1 / 9))
        assert convolution.ratio < 9


def test_operations_of_a_convolution_equal_those_of_real_layers() -> None:
    convolution = part1_evidence.Convolution("", in_channels=16, out_channels=32, size=16)
    standard = nn.Conv2d(16, 32, 3, padding=1)
    separable = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 32, 1))
    counted = [sum(layer.multiply_adds for layer in layers(net, (16, 16, 16))) for net in (standard, separable)]
    assert counted == [convolution.standard, convolution.separable]


def test_every_3x3_layer_of_the_resnets_is_counted() -> None:
    resnet20, resnet18 = part1_evidence.resnet20_convolutions(), part1_evidence.resnet18_convolutions()
    assert len(resnet20) == 19
    assert len(resnet18) == 16
    assert part1_evidence.total_ratio(resnet20) == pytest.approx(6.73, abs=0.005)
    assert part1_evidence.total_ratio(resnet18) == pytest.approx(8.42, abs=0.005)


def test_squeezenet_has_the_weights_of_the_paper_and_most_computation_on_large_maps() -> None:
    shares = part1_evidence.squeezenet_shares()
    assert shares["weights"] == 1_244_448  # Table 1: 1,248,424 with biases
    assert sum(shares["share_by_stage"].values()) == pytest.approx(1)
    assert sum(shares["share_by_map_size"].values()) == pytest.approx(1)
    assert shares["share_by_map_size"][13] < 0.15
    assert shares["share_of_second_half"] < 0.5


def test_measured_speedup_is_the_ratio_of_the_two_times() -> None:
    torch.set_num_threads(1)
    times = part1_evidence.measured_speedup(4, 4, batch=1, repeats=3)
    assert times["speedup"] == pytest.approx(times["standard_ms"] / times["separable_ms"])


def test_command_prints_every_problem_with_its_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    assert part1.main([]) == 0
    printed = capsys.readouterr().out
    assert all(f"Problem 1.{number}  " in printed for number in range(1, 11))
    assert "(the lectures take it for True)" in printed
    assert "share_of_second_half: 0.497" in printed
    assert "in time" not in printed


def test_command_measures_times_when_asked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part1_evidence, "measured_speedup", lambda channels, size: {"speedup": 2.0})
    assert part1.main(["--time"]) == 0
    assert "512 channels, 7x7: speedup 2" in capsys.readouterr().out
