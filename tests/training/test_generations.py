"""The generation loop as a list of stages: its orders, its budgets, its settings."""

import pytest

from superalign_env.errors import InvalidOption
from superalign_env.types import Metric
from superalign_training.evaluation.chain_summary import GateOutcome, summarise_chain
from superalign_training.selfplay.plan import plan
from superalign_training.selfplay.settings import read_settings

HEAD = ["gap", "competence", "discover"]
TAIL = ["measure", "gate"]
ROUND = ["attack", "improve-learner", "calibrate", "alarms"]


def staged(generation=None, **settings):
    chain = plan(read_settings({"generations": 2, "rounds": 1, **settings}))
    return [s.name for s in chain if generation in (None, s.generation)]


def test_a_chain_alternates_between_competence_and_conformity():
    assert staged(0) == ["judge"]
    assert staged(1) == [*HEAD, "conform", *ROUND, *TAIL]
    assert staged(2) == [*HEAD, "conform", *ROUND, *TAIL, "test"]


def test_values_may_come_first_last_or_never():
    assert staged(1, order="conformity-first") == [
        "gap",
        "discover",
        "conform",
        *ROUND,
        "competence",
        *TAIL,
    ]
    assert staged(1, order="conformity-last") == [*HEAD, *TAIL]
    assert staged(2, order="conformity-last") == [
        *HEAD,
        "conform",
        *ROUND,
        *ROUND,
        *TAIL,
        "test",
    ]
    assert staged(order="competence-only").count("conform") == 0


@pytest.mark.parametrize("stage", ["competence", "conform", "attack", "improve-learner"])
def test_orders_that_align_spend_the_same_effort(stage):
    def effort(order):
        settings = read_settings({"generations": 3, "rounds": 2, "order": order})
        return sum(
            s.do.keywords.get("effort", _effort_within(s.do))
            for s in plan(settings)
            if s.name == stage
        )

    assert effort("alternating") == effort("conformity-last") == effort("conformity-first")


def _effort_within(stage):
    inner = stage.func
    return inner.keywords.get("effort", 1) if hasattr(inner, "keywords") else 1


def test_a_chain_without_values_is_taught_twice_the_competence():
    settings = read_settings({"generations": 1, "order": "competence-only"})
    (taught,) = [s.do for s in plan(settings) if s.name == "competence"]
    assert taught.keywords["effort"] == 2


def test_rounds_are_counted_on_through_the_generations():
    settings = read_settings({"generations": 3, "rounds": 2})
    learned = [
        (s.generation, s.round) for s in plan(settings) if s.name == "improve-learner"
    ]
    assert learned == [(1, 1), (1, 2), (2, 3), (2, 4), (3, 5), (3, 6)]
    names = [(s.name, s.generation, s.round) for s in plan(settings)]
    assert len(set(names)) == len(names)


def test_self_play_is_the_shorter_list():
    settings = read_settings({"rounds": 1})
    assert [s.name for s in plan(settings)] == [
        "judge",
        "evaluate",
        *ROUND[:-1],
        "evaluate",
        "alarms",
        "test",
    ]


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"gap": {"id": "fixed-large", "steps": 9}}, "lower gap.steps"),
        ({"signals": {"labels": 0}}, "set signals.labels to at least 2"),
        ({"signals": {"combine": "dawid-skene"}}, "set signals.combine=weighted"),
        ({"gap": "adaptiv"}, "did you mean adaptive"),
        ({"order": "values-first"}, "conformity-first"),
        ({"levels": []}, "levels"),
    ],
)
def test_contradictions_stop_before_anything_is_trained(settings, hint):
    with pytest.raises(InvalidOption, match=hint):
        read_settings({"generations": 3, **settings})


def test_neither_rounds_nor_generations_is_no_run():
    with pytest.raises(InvalidOption, match="set rounds or generations"):
        read_settings({"rounds": 0})


def test_self_play_does_not_mind_what_only_a_chain_needs():
    given = read_settings(
        {"signals": {"labels": 0}, "gap": {"id": "fixed-large", "steps": 9}}
    )
    assert given.signals.labels == 0 and given.generations == 0


def test_a_summary_says_what_became_of_every_generation():
    def u(who, side, value, split="test"):
        tags = {"who": who, "side": side, "split": split, "family": "strings", "tier": "1"}
        return Metric("capability.utility", value, tags=tags)

    capacity = Metric(
        "capability.capacity",
        0.9,
        tags={"who": "A2", "split": "test", "family": "strings", "tier": "1", "by": "gold"},
    )
    summary = summarise_chain(
        [u("A1+", "+", 0.25), u("A2+", "+", 0.75), capacity],
        [
            GateOutcome(1, 0, True, ""),
            GateOutcome(2, 1, True, ""),
            GateOutcome(3, 3, False, "too bold"),
        ],
    )
    assert summary.sentence == (
        "2 of 3 generations were accepted. A3 was rolled back: too bold. "
        "On unseen tasks, A1+ → A2+: U strings 1 0.25 → 0.75."
    )
    assert summary.rows("test") == [
        ["split test", "A1+", "A2+"],
        ["U strings 1", "0.25", "0.75"],
        ["C strings 1 gold", "", "0.90"],
    ]
    assert summary.plain()["generations"][2]["reason"] == "too bold"
