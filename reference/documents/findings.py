"""What the numbers of a record say: which conditional texts of prose.toml hold, and the figures in them."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from reference.documents.records import Record
from reference.documents.tables import number

Findings = dict[str, dict[str, str]]  # name of a text that holds -> the figures in it
VERDICTS = {"higher": "higher", "lower": "lower", "not told apart": "same"}
GUESSING = 0.15  # best validation accuracy of a net that has learnt next to nothing; one class in ten is 0.10
OVERFITTING = 0.03  # gap of training and validation accuracy from which a net is said to overfit
WIDE = 1.1  # deviation after normalisation that is clearly above one
FLAT = 2  # so many values within noise of the best make it a range


def points(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def holding(**found: tuple[bool, dict[str, str]]) -> Findings:
    return {name: figures for name, (holds, figures) in found.items() if holds}


def verdict(answer: Record) -> Findings:
    return {VERDICTS[answer["verdict"]]: {}}


def model(answer: Record, record: Record) -> Findings:
    return {"agree" if answer["agree"] else "differ": {}}


def preprocessing(answer: Record, record: Record) -> Findings:
    return holding(wider=(min(answer["std"]) > WIDE, {}))


def loader(answer: Record, record: Record) -> Findings:
    counts = answer["train_images_per_class"]
    if min(counts) == max(counts):
        return {"balanced": {"each": f"{counts[0]:,}"}}
    return {"unbalanced": {"least": f"{min(counts):,}", "most": f"{max(counts):,}"}}


def training(answer: Record, record: Record) -> Findings:
    gap = answer["gap"]["mean"]
    lowest = max(answer["epochs_of_lowest_val_loss"])
    improving = all(
        seed["train_accuracy"][-1] > seed["train_accuracy"][lowest - 1] for seed in record["runs"]["constant"]["seeds"]
    )
    rises = improving and lowest <= record["epochs"] / 2
    return holding(overfits=(gap > OVERFITTING, {"gap": points(gap)}), loss_rises=(rises, {}))


def decay(answer: Record, record: Record) -> Findings:
    moves = {name: move["mean"] for name, move in answer["mean_change_per_epoch_after_decay"].items()}
    drops = {
        name: best["mean"] - answer["last_val_accuracy"][name]["mean"]
        for name, best in answer["best_val_accuracy"].items()
    }
    return verdict(answer) | holding(
        steadier=(
            moves["decay"] < moves["constant"],
            {name: f"{100 * move:.2f}" for name, move in moves.items()},
        ),
        keeps=(
            drops["decay"] < drops["constant"],
            {f"{name}_drop": points(drop) for name, drop in drops.items()},
        ),
    )


def augmentation(answer: Record, record: Record) -> Findings:
    gaps = {name: gap["mean"] for name, gap in answer["gap"].items()}
    smaller = gaps["no-bn-lr-0.01"] < gaps["no-augmentation"] and gaps["no-augmentation"] > 0
    found = verdict(answer) | holding(gap_smaller=(smaller, {}))
    return {name: {"epochs": str(record["epochs"])} for name in found}


def only_verdict(answer: Record, record: Record) -> Findings:
    return verdict(answer)


def larger_rates(answer: Record, record: Record) -> Findings:
    bn, no_bn = answer["largest_usable_lr"]["bn"], answer["largest_usable_lr"]["no-bn"]
    guessing = {net: [row["lr"] for row in answer["table"] if row[net]["mean"] < GUESSING] for net in ("bn", "no_bn")}
    both = [lr for lr in guessing["bn"] if lr in guessing["no_bn"]]
    ahead = all(row["bn_first_epoch"]["mean"] > row["no_bn_first_epoch"]["mean"] for row in answer["table"])
    compared = {"bn": number(bn), "no_bn": number(no_bn)}
    return {"larger" if bn > no_bn else "equal" if bn == no_bn else "smaller": compared} | holding(
        chance=(bool(guessing["no_bn"]), {"rates": spoken(guessing["no_bn"])}),
        chance_bn=(bool(both), {"rates": spoken(both)}),
        ahead=(ahead, {}),
    )


def spoken(values: list[float]) -> str:
    """ "1", "1 and 0.1", "1, 0.1 and 0.05"."""
    words = [number(value) for value in values]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def rate_sweep(answer: Record, record: Record) -> Findings:
    rows = {row["lr"]: row for row in answer["table"]}
    best, largest, smallest = answer["best_lr"], max(rows), min(rows)
    ends = {best == largest: "largest", best == smallest: "smallest"}
    both_cost = all(answer["verdicts"].get(f"{lr:g}") == "lower" for lr in (largest, smallest))
    place = ends.get(True, "inside" if both_cost else "inside_not_told")
    fit = {lr: rows[lr]["last_train_accuracy"]["mean"] for lr in (best, smallest)}
    return {place: {"best": number(best)}} | holding(
        large_fails=(rows[largest]["best_val_accuracy"]["mean"] < GUESSING, {"rate": number(largest)}),
        slow=(
            fit[smallest] < fit[best],
            {"rate": number(smallest), "slow": points(fit[smallest]), "best": points(fit[best])},
        ),
    )


def l2_sweep(answer: Record, record: Record) -> Findings:
    rows = {row["weight_decay"]: row for row in answer["table"]}
    strongest, weakest = max(rows), min(rows)
    alike = answer["within_noise_of_best"]
    fit = {strength: rows[strength]["last_train_accuracy"]["mean"] for strength in (strongest, weakest)}
    gaps = {strength: rows[strength]["gap"]["mean"] for strength in (strongest, weakest)}
    counts = {"alike": str(len(alike)), "count": str(len(rows))}
    return {"flat" if len(alike) >= FLAT else "matters": counts} | holding(
        strong_costs=(strongest not in alike, {"strength": number(strongest)}),
        underfits=(
            fit[strongest] < fit[weakest],
            {"strength": number(strongest), "strong": points(fit[strongest]), "none": points(fit[weakest])},
        ),
        gap_smaller=(gaps[strongest] < gaps[weakest] and gaps[weakest] > 0, {}),
    )


def weight_distributions(answer: Record, record: Record) -> Findings:
    strength, l1, l2 = same_strength(answer, record)
    shares = {
        "strength": number(strength),
        "l1": points(l1["near_zero"]["mean"]),
        "l2": points(l2["near_zero"]["mean"]),
    }
    deviations = {name: f"{run['std']['mean']:.4f}" for name, run in (("l1", l1), ("l2", l2))}
    sparser = l1["near_zero"]["mean"] > l2["near_zero"]["mean"]
    return {"sparser" if sparser else "not_sparser": shares} | holding(
        narrower=(l1["std"]["mean"] < l2["std"]["mean"], deviations)
    )


def same_strength(answer: Record, record: Record) -> tuple[float, Record, Record]:
    """The largest strength that both an L1 and an L2 penalty had, and the figures of the two runs."""
    recipes = {name: record["runs"][name]["recipe"] for name in answer["runs"]}
    l1 = {recipe["l1"]: answer["runs"][name] for name, recipe in recipes.items() if recipe["l1"]}
    l2 = {recipe["weight_decay"]: answer["runs"][name] for name, recipe in recipes.items() if not recipe["l1"]}
    strength = max(l1.keys() & l2.keys())
    return strength, l1[strength], l2[strength]


def resnet(answer: Record, record: Record) -> Findings:
    changes = answer["changes"]
    if len(changes) < 2:
        return {}
    means = [change["val_accuracy"]["mean"] for change in changes]
    gains = [after - before for before, after in pairwise(means)]
    gain = {"gain": f"{100 * (means[-1] - means[0]):+.1f}", "epochs": str(changes[0]["epochs"])}
    gain["seeds"] = str(changes[0]["val_accuracy"]["n"])
    most = changes[1 + gains.index(max(gains))]["change"]
    return {"gained": gain} | holding(best_change=(max(gains) > 0, {"change": most}))


def nothing(answer: Record, record: Record) -> Findings:
    return {}


FINDINGS: dict[str, Callable[[dict[str, Any], dict[str, Any]], Findings]] = {
    "lab1.a": model,
    "lab1.b": preprocessing,
    "lab1.c": loader,
    "lab1.d": nothing,
    "lab1.e": nothing,
    "lab1.f": nothing,
    "lab1.g": training,
    "lab1.h": decay,
    "lab2.a": augmentation,
    "lab2.b.bn": only_verdict,
    "lab2.b.lr": larger_rates,
    "lab2.b.swish": only_verdict,
    "lab2.c.lr": rate_sweep,
    "lab2.c.l2": l2_sweep,
    "lab2.c.l1": weight_distributions,
    "lab3.a": nothing,
    "lab3.b": resnet,
}
