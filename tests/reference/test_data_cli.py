"""`python -m reference.data`: what it prints, its exit status, and that no traceback reaches the user."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reference.data.__main__ import main
from reference.data.layout import Sizes


def build_arguments(source: Path, root: Path, *more: str) -> list[str]:
    return [
        "build",
        f"--source={source}",
        f"--out={root / 'data'}",
        f"--heldout={root / 'heldout.csv'}",
        *more,
    ]


def test_build_and_measure(image_folder: Path, tmp_path: Path, tiny: Sizes, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(build_arguments(image_folder, tmp_path, "--seed=5"), tiny) == 0
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'data'}: the student's data, from image-folder" in printed
    assert "note: a seed this short can be found by trying" in printed

    figures = tmp_path / "figures.json"
    paths = [f"--source={image_folder}", f"--data={tmp_path / 'data'}", f"--heldout={tmp_path / 'heldout.csv'}"]
    status = main(["measure", *paths, "--epochs=1", "--seeds=2", f"--json={figures}"], tiny)
    written = json.loads(figures.read_text())
    assert status == (0 if written["passed"] else 1)
    assert written["seeds"] == 2
    assert "images with the bytes of an original or its mirror image" in capsys.readouterr().out


def test_seed_is_drawn_and_recorded(
    image_folder: Path, tmp_path: Path, tiny: Sizes, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = []
    for name in ("a", "b"):
        assert main(build_arguments(image_folder, tmp_path / name), tiny) == 0
        seeds.append(json.loads((tmp_path / name / "heldout.manifest.json").read_text())["seed"])
    assert seeds[0] != seeds[1]
    assert min(seeds) > 1 << 64  # of 128 bits; shorter with chance 2^-64
    printed = capsys.readouterr()
    assert not any(str(seed) in printed.out + printed.err for seed in seeds)
    assert "can be found by trying" not in printed.out


def test_recorded_seed_builds_the_same_again(image_folder: Path, tmp_path: Path, tiny: Sizes) -> None:
    assert main(build_arguments(image_folder, tmp_path / "a"), tiny) == 0
    seed = json.loads((tmp_path / "a" / "heldout.manifest.json").read_text())["seed"]
    assert main(build_arguments(image_folder, tmp_path / "b", f"--seed={seed}"), tiny) == 0
    assert (tmp_path / "a" / "heldout.csv").read_bytes() == (tmp_path / "b" / "heldout.csv").read_bytes()


def test_bad_source(image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(build_arguments(image_folder, tmp_path)) == 2
    assert capsys.readouterr().err == f"error: {image_folder}: expected 5000 images in train/airplane, found 5.\n"
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "heldout.csv").exists()


def test_bad_target_is_reported_before_reading(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "heldout.csv").write_text("")
    assert main(build_arguments(tmp_path / "absent", tmp_path)) == 2
    assert "heldout.csv: expected no file here yet" in capsys.readouterr().err


def test_unwritable_place(image_folder: Path, tmp_path: Path, tiny: Sizes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(build_arguments(image_folder, tmp_path / "file"), tiny) == 2
    assert "expected to read or write here, but" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["-1", "1.5", "x", ""])
def test_bad_seed(tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(build_arguments(tmp_path, tmp_path, f"--seed={value}"))
    assert raised.value.code == 2
    assert f"expected a whole number of at least 0, found '{value}'" in capsys.readouterr().err


def test_one_pair_is_too_few(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["measure", "--source=x", "--data=x", "--heldout=x", "--seeds=1"])
    assert "expected a whole number of at least 2" in capsys.readouterr().err


def test_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "reference.data", *build_arguments(tmp_path / "absent.tar", tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    expected = (
        f"error: {tmp_path / 'absent.tar'}: expected a tar, a folder or the word torchvision, found no such file."
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected + "\n")
