"""Capacity and utility: holdouts, ceilings, people as teachers, and what is reported of them."""

import pytest

from superalign_agents.references import make_agent
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_env.humans.simulated import SimulatedAnnotator
from superalign_env.measures import Estimate
from superalign_training.algorithms.supervision import FitSettings
from superalign_training.evaluation.capability import (
    Generation,
    SideResults,
    TeacherAnswers,
    report,
)
from superalign_training.evaluation.ceiling import (
    Ceiling,
    _halves,
    best_of,
    ceiling_key,
    find_ceiling,
)
from superalign_training.evaluation.conduct import conduct
from superalign_training.evaluation.holdout import (
    HoldoutAnswers,
    answer_holdout,
    at_temperature,
    draw_holdout,
    grade_answers,
    greedy,
    people_answers,
)
from superalign_training.evaluation.settings import Capability, GoldFit
from superalign_training.policy import Policy

SUMS = {"id": "microworld", "families": ["arithmetic"], "tiers": [1]}
LONGER = {"id": "microworld", "families": ["arithmetic"], "tiers": [2]}
TURNED = {"id": "microworld", "families": ["strings"], "tiers": [1]}
ALL = {"id": "microworld", "families": ["arithmetic", "strings"], "tiers": [1, 2]}
RULES = Capability(resamples=200)


@pytest.fixture(scope="module")
def holdout():
    return draw_holdout([SUMS, LONGER, TURNED], "gate", 12, source_of_all=ALL, seed=3)


@pytest.fixture(scope="module")
def requests():
    return draw_holdout(["microworld"], "gate", 120, source_of_all="microworld", seed=3)


def right_answers(holdout):
    source = holdout.scenario.source
    return [source.gold(task).answer for task in holdout.tasks]


# --- holdouts


def test_a_paper_holds_different_tasks_of_its_split_and_is_drawn_again_the_same(holdout):
    prompts = [task.prompt for task in holdout.tasks]
    assert len(set(prompts)) == len(prompts)
    assert {task.split for task in holdout.tasks} == {"gate"}
    assert {rung: len(places) for rung, places in holdout.rungs.items()} == {
        ("arithmetic", 1): 12,
        ("arithmetic", 2): 12,
        ("strings", 1): 12,
    }
    again = draw_holdout([SUMS, LONGER, TURNED], "gate", 12, source_of_all=ALL, seed=3)
    assert (again.tasks, again.views) == (holdout.tasks, holdout.views)


def test_a_paper_ends_where_the_split_has_no_more_tasks():
    holdout = draw_holdout([SUMS], "gate", 10_000, source_of_all=SUMS)
    assert 10 < len(holdout.tasks) < 300


def test_no_task_is_on_two_papers_of_different_splits():
    holdouts = [
        draw_holdout([SUMS], s, 30, source_of_all=SUMS) for s in ("gate", "test", "train")
    ]
    ids = [task.id for holdout in holdouts for task in holdout.tasks]
    assert len(ids) == len(set(ids))


def test_right_answers_score_and_anything_else_does_not(holdout):
    good = grade_answers(holdout, right_answers(holdout))
    assert set(good.scores) == {1.0}
    bad = grade_answers(holdout, ["I would rather not"] * len(holdout.tasks))
    assert set(bad.scores) == {0.0}
    # What an answer comes to leaves worked steps out.
    short = [f"ans {text.rpartition('ans ')[2]}" for text in right_answers(holdout)]
    assert grade_answers(holdout, short).keys == good.keys


def test_papers_are_sat_at_temperature_zero_and_the_agent_is_left_alone(speaking, holdout):
    agent = Policy.from_reference(str(speaking)).agent
    assert agent.temperature == 1.0
    assert answer_holdout(agent, holdout) == answer_holdout(agent, holdout)
    assert greedy(agent).temperature == 0.0
    assert agent.temperature == 1.0
    assert at_temperature(agent, 0.5).model is agent.model


# --- people


def test_people_who_never_err_solve_all_and_those_who_always_err_nothing(holdout):
    assert set(people_answers([SimulatedAnnotator(accuracy=1.0)], holdout).scores) == {1.0}
    assert set(people_answers([SimulatedAnnotator(accuracy=0.0)], holdout).scores) == {0.0}
    turns = [SimulatedAnnotator("a", accuracy=1.0), SimulatedAnnotator("b", accuracy=0.0)]
    assert people_answers(turns, holdout).scores[:4] == (1.0, 0.0, 1.0, 0.0)
    with pytest.raises(InvalidOption, match=r"signals\.people"):
        people_answers([], holdout)


def test_people_who_cannot_tell_words_apart_err_the_same_way_every_time(holdout):
    blind = [SimulatedAnnotator(accuracy=1.0, blind=("+", "-", "*"))]
    found = people_answers(blind, holdout)
    assert found == people_answers(blind, holdout)
    sums = [
        s
        for s, task in zip(found.scores, holdout.tasks, strict=True)
        if "calc" in task.prompt
    ]
    assert 0 < sum(sums) < len(sums)


# --- requests


def test_who_complies_with_everything_is_unsafe_and_who_refuses_everything_useless(
    requests,
):
    comply = conduct(make_agent("always-comply"), requests)
    refuse = conduct(make_agent("always-refuse"), requests)
    assert comply.safety.value == 0.0
    assert refuse.safety.value == 1.0
    assert {r.value for r in comply.over_refusal.values()} == {0.0}
    assert {r.value for r in refuse.over_refusal.values()} == {1.0}
    assert set(refuse.over_refusal) == {"benign", "scary-benign"}
    assert refuse.over_refusal["scary-benign"].n < refuse.over_refusal["benign"].n
    assert refuse.safety.n + refuse.over_refusal["benign"].n == 120
    # Both are right on one side only, in every dimension.
    for dimension, rate in comply.conformity.items():
        assert rate.value + refuse.conformity[dimension].value == pytest.approx(1.0)
    # Sure of everything and right half of the time.
    assert comply.entropy.value == 0.0
    right = sum(r.value * r.n for r in comply.conformity.values()) / 120
    assert comply.calibration_error == pytest.approx(1.0 - right)


def test_a_model_is_read_and_its_answers_are_those_it_would_give(speaking, requests):
    agent = Policy.from_reference(str(speaking)).agent
    found = conduct(agent, requests)
    said = [reply.text for reply in greedy(agent).act(requests.views)]
    graded_ = grade_answers(requests, said)
    right = sum(r.value * r.n for r in found.conformity.values())
    assert right == pytest.approx(sum(graded_.scores))
    assert 0.0 < found.entropy.value < 1.2


def test_conduct_says_nothing_about_values_where_tasks_have_none(speaking, holdout):
    found = conduct(Policy.from_reference(str(speaking)).agent, holdout)
    assert (found.conformity, found.safety, found.over_refusal) == ({}, None, {})
    assert (found.calibration_error, found.entropy) == (None, None)


# --- ceilings


def test_a_course_cut_in_two_keeps_its_rate_at_every_step():
    whole = FitSettings(steps=10, learning_rate=1.0, final_learning_rate=0.2, batch_size=4)
    first, rest = _halves(whole, 3)
    rates = [first.learning_rate_at(i) for i in range(3)] + [
        rest.learning_rate_at(i) for i in range(7)
    ]
    assert rates == pytest.approx([whole.learning_rate_at(i) for i in range(10)])
    assert _halves(whole, 10) == (whole, None)


@pytest.fixture(scope="module")
def taught():
    """A ceiling of rung 2 on short sums, and what it was found from."""
    holdout = draw_holdout([SUMS], "gate", 24, source_of_all=SUMS)
    lessons = draw_holdout([SUMS], "train", 160, source_of_all=SUMS)
    rules = Capability(
        ceiling=GoldFit(steps=40, learning_rate=3e-3, batch_size=32),
        salient_steps=10,
        best_of=4,
    )
    policy = Policy.from_reference("micro/2")
    key = ceiling_key(policy.hash, holdout, lessons, rules, seed=1)
    return (
        holdout,
        lessons,
        rules,
        key,
        find_ceiling(policy, holdout, lessons, rules, seed=1),
    )


def test_gold_labels_call_forth_what_a_fresh_model_knows_and_does_not_show(taught):
    found = taught[-1]
    fresh, able = sum(found.fresh) / 24, sum(found.taught) / 24
    assert able > fresh + 0.15
    assert found.salient not in (found.fresh, found.taught)
    assert sum(found.best) >= sum(found.fresh)


def test_a_ceiling_is_found_again_exactly_and_survives_the_record(taught):
    holdout, lessons, rules, key, found = taught
    policy = Policy.from_reference("micro/2")
    assert ceiling_key(policy.hash, holdout, lessons, rules, seed=1) == key
    assert ceiling_key(policy.hash, holdout, lessons, rules, seed=2) != key
    assert ceiling_key("0", holdout, lessons, rules, seed=1) != key
    assert find_ceiling(policy, holdout, lessons, rules, seed=1) == found
    assert Ceiling.from_plain(found.plain()) == found
    with pytest.raises(RecordDamaged, match="no usable ceiling"):
        Ceiling.from_plain({"fresh": "x"})


def test_more_tries_never_make_the_best_worse(speaking, holdout):
    policy = Policy.from_reference("micro/2")
    one = best_of(policy, holdout, 1, seed=4)
    many = best_of(policy, holdout, 6, seed=4)
    assert all(b >= a for a, b in zip(one, many, strict=True))
    assert sum(many) > sum(one)


# --- what is reported


def generation(holdout, *, student, teacher, able=1.0, sides=("-", "+")):
    """A generation with planted scores; a wrong answer of both is the same answer."""
    n = len(holdout.tasks)

    def sat(scores, wrong):
        keys = [f"right {i}" if s else f"{wrong} {i}" for i, s in enumerate(scores)]
        return HoldoutAnswers(tuple(keys), tuple(scores))

    ceiling = Ceiling(
        (0.0,) * n, (0.5,) * n, (able,) * n, tuple(f"right {i}" for i in range(n))
    )
    shown = SideResults("abc", sat(student, "wrong"), None)
    return Generation(
        3,
        1,
        dict.fromkeys(sides, shown),
        ceiling,
        TeacherAnswers("A2+", sat(teacher, "wrong")),
    )


def named(found, name, **tags):
    return [m for m in found.metrics if m.name == name and tags.items() <= m.tags.items()]


def test_a_copy_of_its_teacher_recovers_nothing_and_imitates_fully(holdout):
    half = [float(i % 2) for i in range(len(holdout.tasks))]
    found = report(generation(holdout, student=half, teacher=half), holdout, RULES, "gate")
    overall = [
        m for m in named(found, "capability.pgr", side="-") if "family" not in m.tags
    ]
    assert [m.value for m in overall] == [0.0]
    assert {m.value for m in named(found, "capability.w2s_minus_weak")} == {0.0}
    assert {m.value for m in named(found, "capability.imitation")} == {1.0}
    assert {m.value for m in named(found, "capability.imitation_ceiling")} == {0.0}
    gap = named(found, "capability.gap", **{"in": "utility"})[0]
    assert gap.value == pytest.approx(0.5)
    assert named(found, "capability.gap", **{"in": "elo"})[0].low > 0
    assert {m.value for m in named(found, "capability.elicitation_gap")} == {0.5}


def test_who_reaches_the_ceiling_recovers_all_and_imitates_nothing(holdout):
    n = len(holdout.tasks)
    half = [float(i % 2) for i in range(n)]
    found = report(
        generation(holdout, student=[1.0] * n, teacher=half), holdout, RULES, "gate"
    )
    assert {m.value for m in named(found, "capability.pgr")} == {1.0}
    assert {m.value for m in named(found, "capability.imitation")} == {0.0}
    assert {m.value for m in named(found, "capability.saliency")} == {0.5}


def test_a_gap_of_nothing_is_said_in_words_and_never_divided_by(holdout):
    n = len(holdout.tasks)
    found = report(
        generation(holdout, student=[1.0] * n, teacher=[1.0] * n), holdout, RULES, "gate"
    )
    assert named(found, "capability.pgr") == []
    assert any("not surely more than 0.05" in why for why in found.missing)
    # A teacher who is never wrong cannot be imitated in error.
    assert named(found, "capability.imitation") == []


def test_without_a_teacher_nothing_is_said_about_one(holdout):
    made = generation(holdout, student=[1.0] * len(holdout.tasks), teacher=[])
    found = report(made._replace(teacher=None), holdout, RULES, "gate")
    assert named(found, "capability.gap") == named(found, "capability.pgr") == []
    assert any("no teacher" in why for why in found.missing)
    assert len(named(found, "capability.utility", side="+")) == 3


def test_every_metric_says_whose_it_is_on_which_side_of_which_generation(holdout, requests):
    half = [float(i % 2) for i in range(len(holdout.tasks))]
    made = generation(holdout, student=half, teacher=half)
    told = conduct(make_agent("always-refuse"), requests)
    sides = {side: shown._replace(conduct=told) for side, shown in made.sides.items()}
    found = report(made._replace(sides=sides), holdout, RULES, "gate")
    assert {m.step for m in found.metrics} == {3}
    assert {m.agent for m in found.metrics} == {"abc"}
    assert {m.tags["who"] for m in found.metrics} == {"A3", "A3-", "A3+"}
    for metric in found.metrics:
        assert metric.tags["who"] == f"A3{metric.tags.get('side', '')}"
        assert metric.tags["split"] == "gate"
        assert metric.n > 0
        assert metric.low is None or metric.low <= metric.value <= metric.high
    # Competence, conformity and safety are different metrics, and there is no sum of them.
    assert {m.name for m in found.metrics} == {
        "capability.calibration_error",
        "capability.capacity",
        "capability.distinct",
        "capability.elicitation_gap",
        "capability.entropy",
        "capability.gap",
        "capability.imitation",
        "capability.imitation_ceiling",
        "capability.pgr",
        "capability.saliency",
        "capability.utility",
        "capability.w2s_minus_weak",
        "conformity",
        "over-refusal",
        "safety",
    }
    assert named(found, "safety", side="+")[0].value == Estimate(*told.safety).value
