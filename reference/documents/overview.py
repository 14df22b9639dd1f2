"""The table at the head of results/README.md: one row for each result."""

from reference.documents.findings import same_strength
from reference.documents.records import Record, Records, told_by
from reference.documents.tables import number, read, share, table

Row = list[str]  # item, what is compared, result, n, verdict, bar


def overview(records: Records) -> str:
    with told_by(records.folder / "part1.json"):
        rows = [part1_row(records.part1)]
    for lab, record in records.labs.items():
        with told_by(records.folder / f"{lab}.json"):
            rows += ROWS[lab](record)
    if records.heldout is not None:
        with told_by(records.folder / "heldout.json"):
            score = records.heldout
            low, high = score["interval"]
            rows.append(
                [
                    "held-out",
                    f"predictions.csv, {score['n']:,} images, 95% interval",
                    f"{score['accuracy']:.2%} ({low:.2%} to {high:.2%})",
                    "1",
                    "",
                    "",
                ]
            )
    return table(["item", "what is compared", "result", "n", "verdict", "bar"], rows, left=6)


def part1_row(answers: Record) -> Row:
    other = [item.removeprefix("part") for item, answer in answers.items() if answer["verdict"] != answer["lectures"]]
    result = f"{len(answers) - len(other)} of {len(answers)} the same"
    return ["part1", "verdicts, the lectures' verdicts", result, "", f"other: {', '.join(other)}" if other else "", ""]


def bar(answer: Record) -> str:
    return f"{answer['bar']:.0%} {'met' if answer['bar_met'] else 'not met'}"


def lab1_rows(record: Record) -> list[Row]:
    g, h = record["answers"]["lab1.g"], record["answers"]["lab1.h"]
    initial, best = read(g["initial_loss"]), read(g["best_val_accuracy"])
    return [
        ["lab1.g", "loss before training, ln 10", f"{initial.mean:.4f}, {g['ln_classes']:.4f}", str(initial.n), "", ""],
        ["lab1.g", "SimpleNN, constant learning rate", f"{share(best)}", str(best.n), "", bar(g)],
        [*versus("lab1.h", "decay, constant rate", h, "decay", "constant"), bar(h)],
    ]


def versus(item: str, what: str, answer: Record, changed: str, base: str) -> Row:
    """Five cells of a comparison of best accuracies; the verdict is that of the first."""
    first, second = (read(answer["best_val_accuracy"][name]) for name in (changed, base))
    return [item, what, f"{share(first)}, {share(second)}", str(first.n), answer["verdict"]]


def lab2_rows(record: Record) -> list[Row]:
    answers = record["answers"]
    usable, rates, strengths = (answers[f"lab2.{item}"] for item in ("b.lr", "c.lr", "c.l2"))
    bn, no_bn = usable["largest_usable_lr"]["bn"], usable["largest_usable_lr"]["no-bn"]
    comparison = "higher" if bn > no_bn else "lower" if bn < no_bn else "the same"
    by_rate = {row["lr"]: read(row["best_val_accuracy"]) for row in rates["table"]}
    by_strength = {row["weight_decay"]: read(row["best_val_accuracy"]) for row in strengths["table"]}
    best_rate, best_strength = by_rate[rates["best_lr"]], by_strength[strengths["best_weight_decay"]]
    strength, l1, l2 = same_strength(answers["lab2.c.l1"], record)
    near = [read(figures["near_zero"]) for figures in (l1, l2)]
    others = [value for value in strengths["within_noise_of_best"] if value != strengths["best_weight_decay"]]
    alike = ", ".join(number(value) for value in others) or "none"
    return [
        [*versus("lab2.a", "augmentation, none", answers["lab2.a"], "no-bn-lr-0.01", "no-augmentation"), ""],
        [*versus("lab2.b.bn", "BN, no BN", answers["lab2.b.bn"], "bn-lr-0.01", "no-bn-lr-0.01"), ""],
        [
            "lab2.b.lr",
            "largest usable learning rate: BN, no BN",
            f"{number(bn)}, {number(no_bn)}",
            str(usable["table"][0]["bn"]["n"]),
            comparison,
            "",
        ],
        [*versus("lab2.b.swish", "BN + Swish, BN + ReLU", answers["lab2.b.swish"], "swish-lr-0.1", "bn-lr-0.1"), ""],
        [
            "lab2.c.lr",
            f"best of {len(by_rate)} learning rates: {number(rates['best_lr'])}",
            f"{share(best_rate)}",
            str(best_rate.n),
            "",
            bar(rates),
        ],
        [
            "lab2.c.l2",
            f"best of {len(by_strength)} L2 strengths: {number(strengths['best_weight_decay'])}",
            f"{share(best_strength)}",
            str(best_strength.n),
            f"not told apart from it: {alike}",
            "",
        ],
        [
            "lab2.c.l1",
            f"weights near zero, strength {number(strength)}: L1, L2",
            f"{share(near[0])}, {share(near[1])}",
            str(near[0].n),
            "L1 sparser" if near[0].mean > near[1].mean else "L1 not sparser",
            "",
        ],
    ]


def lab3_rows(record: Record) -> list[Row]:
    a, b = record["answers"]["lab3.a"], record["answers"]["lab3.b"]
    seeds = str(len(record["runs"]["resnet20"]["seeds"]))
    what = f"ResNet-20, {b['epochs']} epochs, {b['seconds'] / 60:.0f} min"
    return [
        ["lab3.a", "parameters, multiply-adds", f"{a['parameters']:,}, {a['multiply_adds']:,}", "", "", ""],
        ["lab3.b", what, f"{b['best_val_accuracy']:.2%}", seeds, "", bar(b)],
    ]


ROWS = {"lab1": lab1_rows, "lab2": lab2_rows, "lab3": lab3_rows}
