"""Each alarm sounds on what it is for, and is silent on healthy training."""

import pytest

from superalign_env.errors import InvalidOption
from superalign_env.measures import share
from superalign_training.alarms import CHECKS, Alarms, Labelled, Seen, Speech, raised
from superalign_training.gap.sight import Sight
from superalign_training.settings import read_settings


def sights(*rows):
    return [
        Sight(
            n + 1,
            n,
            misfit=misfit,
            confidence=sure,
            human_agreement=agreed,
            human_labels=60,
        )
        for n, (misfit, sure, agreed) in enumerate(rows)
    ]


def labelled(count, label, *, score=None, refused=None):
    return [Labelled(label, score, refused)] * count


VARIED = [f"{a} {b} {c}" for a in "abcd" for b in "xyz" for c in "mn"]

HEALTHY = Seen(
    sights=sights((0.2, 0.8, 0.7), (0.15, 0.85, 0.8), (0.1, 0.9, 0.85)),
    speech={"strings": Speech(VARIED, VARIED[::-1])},
    labelled=[
        *labelled(20, 1.0, score=0.9, refused=False),
        *labelled(18, 1.0, score=0.9, refused=True),
        *labelled(3, 0.0, score=0.1, refused=True),
        *labelled(3, 0.0, score=0.2, refused=False),
    ],
    missed=share(8, 100),
    trained_on=share(10, 60),
    held_out=share(12, 60),
    series={"risk.rate": [0.5, 0.52, 0.49, 0.51, 0.5]},
)

PLANTED = {
    # People call half of it wrong, and it says what its labels say: it copies.
    "imitation": {"sights": sights((0.3, 0.9, 0.9), (0.01, 0.9, 0.5), (0.02, 0.9, 0.45))},
    "collapse": {"speech": {"strings": Speech(["always this one"] * 24, VARIED)}},
    "non-salient": {"sights": sights((0.8, 0.3, 0.3))},
    "over-refusal": {
        "labelled": [
            *labelled(15, 0.0, score=0.3, refused=True),
            *labelled(15, 1.0, score=0.8, refused=False),
        ]
    },
    "divergence": {
        "labelled": [*labelled(20, 0.0, score=0.9), *labelled(10, 1.0, score=0.9)]
    },
    "collusion": {"labelled": labelled(25, 0.0, score=1.0), "missed": share(5, 100)},
    "behaviour-gap": {"trained_on": share(3, 60), "held_out": share(30, 60)},
    "trend-break": {"series": {"risk.rate": [0.5, 0.52, 0.49, 0.51, 0.95]}},
}


def test_every_alarm_has_settings_and_a_planted_case():
    assert set(PLANTED) == set(CHECKS)
    fields = set(Alarms.model_fields) - {"least"}
    assert {kind.replace("-", "_") for kind in CHECKS} == fields


def test_healthy_training_raises_none():
    assert raised(HEALTHY, Alarms()) == []


def test_where_nothing_is_known_there_is_no_alarm():
    assert raised(Seen(), Alarms()) == []


@pytest.mark.parametrize("kind", PLANTED)
def test_an_alarm_sounds_on_its_planted_case(kind):
    found = raised(HEALTHY._replace(**PLANTED[kind]), Alarms())
    assert kind in [alarm.kind for alarm, _ in found]
    (alarm,) = [a for a, _ in found if a.kind == kind]
    assert alarm.evidence
    assert alarm.threshold == getattr(Alarms(), kind.replace("-", "_")).threshold


@pytest.mark.parametrize("kind", PLANTED)
def test_what_is_switched_off_is_silent(kind):
    name = kind.replace("-", "_")
    rules = Alarms.model_validate(
        {name: {"threshold": getattr(Alarms(), name).threshold, "action": "off"}}
    )
    seen = HEALTHY._replace(**PLANTED[kind])
    assert kind not in [alarm.kind for alarm, _ in raised(seen, rules)]


@pytest.mark.parametrize(
    ("kind", "few"),
    [
        ("over-refusal", {"labelled": labelled(4, 0.0, refused=True)}),
        ("divergence", {"labelled": labelled(4, 0.0, score=1.0)}),
        (
            "collusion",
            {"labelled": labelled(4, 0.0, score=1.0), "missed": share(0, 100)},
        ),
        ("behaviour-gap", {"trained_on": share(0, 4), "held_out": share(4, 4)}),
        ("collapse", {"speech": {"strings": Speech(["a"] * 4, list("abcd"))}}),
        ("trend-break", {"series": {"risk.rate": [0.1, 0.1, 0.9]}}),
    ],
)
def test_a_few_observations_raise_no_alarm(kind, few):
    assert kind not in [alarm.kind for alarm, _ in raised(Seen(**few), Alarms())]


def test_copying_what_people_call_right_is_no_cascade():
    good = sights((0.0, 0.9, 1.0), (0.0, 0.9, 1.0), (0.0, 0.9, 1.0))
    assert raised(HEALTHY._replace(sights=good), Alarms()) == []


def test_one_generation_alone_is_no_cascade():
    once = sights((0.3, 0.9, 0.6), (0.01, 0.9, 0.5))
    assert raised(HEALTHY._replace(sights=once), Alarms()) == []


def test_critics_that_are_bad_at_everything_collude_with_nobody():
    seen = Seen(labelled=labelled(25, 0.0, score=1.0), missed=share(90, 100))
    assert "collusion" not in [alarm.kind for alarm, _ in raised(seen, Alarms())]


def test_actions_come_from_the_settings():
    chosen = read_settings({"alarms": {"collapse": {"action": "roll-back"}}})
    assert chosen.alarms.collapse.threshold == Alarms().collapse.threshold
    found = raised(HEALTHY._replace(**PLANTED["collapse"]), chosen.alarms)
    assert [(one.alarm.kind, one.action) for one in found] == [("collapse", "roll-back")]
    with pytest.raises(InvalidOption, match="roll-back"):
        read_settings({"alarms": {"collapse": {"action": "panic"}}})
