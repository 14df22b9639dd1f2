"""results/README.md: the results at a glance, then every run, how long it took, and how to repeat it."""

from reference.documents.answers import GENERATED, HEADINGS, PLOTS, heldout_sentence
from reference.documents.overview import overview
from reference.documents.records import LABS, Record, Records, told_by
from reference.documents.tables import changes_table, common, run_table, table, validated_table


def results_text(records: Records) -> str:
    parts = [GENERATED, "# Results", overview(records), PLUS_MINUS, *jpeg(records)]
    parts += [lab_results(records, lab) for lab in LABS]
    parts += ["## Held-out images", heldout(records), *data_set(records)]
    parts += ["## Time, hardware, commands", *costs(records), REPRODUCE]
    return "\n\n".join(parts) + "\n"


PLUS_MINUS = """\
"a ± b" is the mean over n seeds and their standard deviation (with n - 1); where n is 1 there is a single seed and no
deviation. Accuracies are those of the validation images unless it says otherwise; "best" is the best epoch's, "gap" is
training minus validation accuracy after the last epoch; training accuracy is counted during the epoch, in training
mode, on augmented images where the recipe augments, so the gap is no pure measure of overfitting. Verdicts compare the
first with the second, seed by seed: "not told apart" means that a 95% interval of the difference includes zero."""

JPEG = """\
The images are JPEG-compressed, which is reported to cost 2 to 3 points, so the 91.25% that the ResNet paper reports for
ResNet-20 on the original images is not the measure here."""

MINUTES = """\
Minutes add up the wall time of training and validation of every run, on the threads named; nets that train together
share theirs evenly. Runs that went on side by side took less than their sum."""

REPRODUCE = """\
## Reproduce

Everything; a killed run goes on with the same command:

```
python -m reference all --data DIR
```

One row, with a seed of its own, compared with the record:

```
python -m reference repeat lab2 bn-lr-0.05 --data DIR --seed 7
```

The tables and [`ANSWERS.md`](../ANSWERS.md) again from the records: `python -m reference documents`."""


def jpeg(records: Records) -> list[str]:
    with told_by(records.folder / "data.json"):
        return [JPEG] if records.data is not None and records.data["lossy"] else []


def data_set(records: Records) -> list[str]:
    """The measured facts of the data set; nothing where they were not measured."""
    if records.data is None:
        return []
    data = records.data
    with told_by(records.folder / "data.json"):
        effect = data["pixel_effect"]
        net = f"SimpleNN trained on all original images with CIFAR-10's own labels, {data['epochs']} epochs"
        rows = [
            [f"{net}: held-out labels right", f"{data['original_labels_accuracy']:.2%}"],
            ["the same net: original labels of the held-out images right", f"{data['original_ids_accuracy']:.2%}"],
            ["images with the bytes of an original or its mirror image", str(sum(data["image_matches"].values()))],
            ["rows of 32 pixels with the bytes of an original's", str(sum(data["row_matches"].values()))],
            [
                f"effect of the change of pixels on accuracy, points (± standard error of n = {data['seeds']})",
                f"{100 * effect['mean_difference']:.2f} ± {100 * effect['standard_error_of_difference']:.2f}",
            ],
        ]
    return ["## Data set", table(["measured", "value"], rows)]


def lab_results(records: Records, lab: str) -> str:
    if lab not in records.labs:
        return f"## {HEADINGS[lab]}\n\nNot measured: there is no `{lab}.json` here."
    record = records.labs[lab]
    with told_by(records.folder / f"{lab}.json"):
        parts = [f"## {HEADINGS[lab]}", *NETS.get(lab, ()), run_table(record["runs"])]
        parts.append(f"All these runs: {common(record['runs'])}.")
        if lab == "lab3":
            parts += resnet(record["answers"]["lab3.b"])
    parts += [f"![{HEADINGS[lab]}]({name})" for name in PLOTS[lab] if name in records.plots]
    return "\n\n".join(parts)


NETS = {
    "lab2": (
        "The net is SimpleNN; it has BN after each convolution in the runs named `bn-`, `l2-`, `l1-` and `swish-`, and "
        "Swish in place of ReLU in the last of these.",
    ),
    "lab3": (
        "The net is ResNet-20; `resnet20` is the run whose predictions are handed in. Averaged weights and flips "
        "change only what is validated, so one run serves several of the changes below. Where a run averages weights "
        "its validation figures are those of the average, its training figures are not.",
    ),
}


SHORTER = (
    "From the course's recipe (the first row) to the best one (the last), each change made on top of those above it, "
    "in shorter runs; the course's recipe was not trained for as long as `resnet20`:"
)


def resnet(answer: Record) -> list[str]:
    longest = (
        f"ResNet-20's best validation accuracy is {answer['best_val_accuracy']:.2%} with {answer['epochs']} "
        f"epochs in {answer['seconds'] / 60:.1f} minutes (one seed; its standard error on the validation images is "
        f"{100 * answer['best_val_accuracy_standard_error']:.2f} points)."
    )
    parts = [longest]
    if answer["last_val_accuracy"]:
        parts += ["After its last epoch, by what is validated:", validated_table(answer["last_val_accuracy"])]
    if answer["changes"]:
        parts += [SHORTER, changes_table(answer["changes"])]
    return parts


def heldout(records: Records) -> str:
    if records.heldout is None:
        return "Not scored: there is no `heldout.json` here."
    with told_by(records.folder / "heldout.json"):
        sentence = heldout_sentence(records.heldout)
        return f"Of `predictions.csv` {sentence} Recall by class is in [`ANSWERS.md`](../ANSWERS.md)."


def costs(records: Records) -> list[str]:
    """Wall time of each lab and of all, on what, with which seeds and command."""
    rows, commands, total = [], [], 0.0
    for lab, record in records.labs.items():
        with told_by(records.folder / f"{lab}.json"):
            total += record["seconds"]
            rows.append(
                [
                    lab,
                    f"{record['seconds'] / 60:.1f}",
                    seeds(record),
                    machine(record["hardware"]),
                    ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
                ]
            )
            commands.append(record["command"])
    if not rows:
        return ["No lab was measured."]
    rows.append(["all", f"{total / 60:.1f}", "", "", ""])
    header = ["lab", "minutes", "seeds", "machine", "versions"]
    listed = "\n".join(dict.fromkeys(commands))
    return [table(header, rows, left=5), MINUTES, f"```\n{listed}\n```"]


def seeds(record: Record) -> str:
    """Of all runs, or of those that have fewest and most: "0, 1, 2" or "0; 0, 1"."""
    found = {tuple(seed["seed"] for seed in run["seeds"]) for run in record["runs"].values()}
    return "; ".join(", ".join(map(str, each)) for each in sorted(found))


def machine(hardware: Record) -> str:
    words = f"{hardware['processor']}, cores: {hardware['cores']}, threads: {hardware['threads']}"
    return f"{words}, {hardware['gpu']}" if hardware["gpu"] else words
