"""Every attack of the hostile suite holds in the best isolation of this machine, and honest work scores in full."""

from __future__ import annotations

from itertools import chain

import pytest

from fixtures.hostile import Attack, all_attacks
from fixtures.hostile.trial import Outcome, expected
from grader import attacks
from grader.attacks import Result, chosen, explain, run_attacks, summary, table, why_skipped
from grader.execution.sandbox.tiers import choose

ATTACKS = all_attacks()
# Below these the suite shows what leaks, which is known: see `Isolation.enforced`.
TIERS = ("fork", "bubblewrap")
ATTACK = Attack("reach-x", "reads what it must not", ("labels",), ends="refused", never="found [0-9]+")
HONEST = Attack("honest-x", "warns", honest=True)


# -- in words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("happened", "broken"),
    [
        ("refused: no such file", []),
        ("refused\nlabels REACHED 3", ["got through: labels REACHED 3"]),
        ("nothing", ["did not end as 'refused'"]),
        ("refused, found 12", ["must not end as 'found 12'"]),
    ],
)
def test_what_an_attack_declares_is_looked_for(happened: str, broken: list[str]) -> None:
    assert expected(ATTACK, happened) == broken


def test_the_table_says_what_happened_or_why_it_did_not_hold() -> None:
    results = [
        Result(ATTACK, Outcome("refused\nby the system", seconds=1.2)),
        Result(ATTACK, Outcome("refused", ("read the labels",), 2.0)),
        Result(ATTACK, Outcome(), "it harms a machine"),
    ]
    assert table(results) == [
        "reach-x  held       1.2 s  refused / by the system",
        "reach-x  NOT HELD   2.0 s  read the labels",
        "reach-x  skipped    0.0 s  it harms a machine",
    ]
    told = explain(results[1])
    assert told[0].startswith("reach-x: reads what it must not")
    assert told[1:] == ["  ! read the labels", "    refused"]


def test_honest_cases_and_skipped_ones_are_not_counted() -> None:
    held, broken = Outcome("refused"), Outcome(broken=("read the labels",))
    results = [Result(ATTACK, held), Result(ATTACK, broken), Result(ATTACK, held, "skipped"), Result(HONEST, broken)]
    assert summary(results) == {"attacks": 2, "held": 1}


def test_attacks_are_chosen_by_name() -> None:
    assert [attack.name for attack in chosen("^reach-labels$")] == ["reach-labels"]
    assert chosen("no such attack") == []


def test_what_harms_a_machine_is_not_run_without_isolation() -> None:
    assert why_skipped(ATTACKS["process-fork-bomb"], "none")
    assert not why_skipped(ATTACKS["process-fork-bomb"], "fork")
    assert not why_skipped(ATTACKS["reach-labels"], "none")


def test_a_tier_that_cannot_be_had_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def choose(name: str) -> None:
        raise LookupError(f"{name} cannot be had on this machine")

    monkeypatch.setattr(attacks, "choose", choose)
    assert attacks.main([ATTACK], 1, "bubblewrap", False) == 2
    assert capsys.readouterr().err == "bubblewrap cannot be had on this machine\n"


# -- the suite -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def held(request: pytest.FixtureRequest) -> dict[str, Result]:
    """Results by name of the attacks that were asked for, each run once."""
    tier = choose().tier
    if tier not in TIERS:
        pytest.skip(f"this machine isolates kernels no better than by {tier!r}")
    items = (item for item in request.session.items if isinstance(item, pytest.Function))
    params = (item.callspec.params.get("attack") for item in items if hasattr(item, "callspec"))
    asked = {attack.name: attack for attack in params if isinstance(attack, Attack) and attack.name in ATTACKS}
    return {result.attack.name: result for result in run_attacks(list(asked.values()), 2, tier)}


# What does not hold yet, by name, and why.
OPEN: dict[str, str] = {}


def marked(name: str, attack: Attack) -> object:
    """A parameter, marked where the attack does not hold yet."""
    marks = [pytest.mark.xfail(reason=OPEN[name], strict=True)] if name in OPEN else []
    return pytest.param(attack, id=name, marks=marks)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("attack", [marked(name, attack) for name, attack in ATTACKS.items()])
def test_an_attack_holds(attack: Attack, held: dict[str, Result]) -> None:
    result = held[attack.name]
    if result.skipped:
        pytest.skip(result.skipped)
    assert result.held, "\n".join(explain(result))


# Without isolation these get through; if they did not, they would show nothing about isolation either.
GETS_THROUGH = {
    "reach-labels": "read the labels",
    "reach-environment": "read the grader's environment",
    "reach-tcp": "reached the socket TCP on loopback",
    "reach-write-outside": "changed ",
}


@pytest.mark.slow
def test_attacks_get_through_where_nothing_isolates() -> None:
    results = run_attacks([ATTACKS[name] for name in GETS_THROUGH], 2, "none")
    broken = {result.attack.name: result.outcome.broken for result in results}
    for name, breach in GETS_THROUGH.items():
        assert any(reason.startswith(breach) for reason in broken[name]), (name, broken[name])


def test_every_case_belongs_to_one_group() -> None:
    groups = {attack.group for attack in ATTACKS.values()}
    assert len(list(chain.from_iterable(chosen(f"^{group}-") for group in groups))) == len(ATTACKS)
