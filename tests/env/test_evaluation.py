"""Held-out play: paired cases, and what the truth says."""

import json

import msgspec
import pytest

import superalign_env
from superalign_env.errors import InvalidOption
from superalign_env.evaluation import evaluate, grade_of, metrics, paired, pay_of, titled
from superalign_env.rewards import totals
from superalign_env.rollout.one_episode import replay
from superalign_env.types import EpisodeKey, Grade, Reply

CASES = 60


def exam(**options):
    return superalign_env.make_scenario("exam", split="test", **options)


def solver(scenario, *, right):
    """An agent that looks the truth up, to know what the measures must say."""

    def answer(view):
        task = scenario.source.parse(view.turns[0].text, "test")
        good = scenario.source.gold(task).answer
        return (
            good if right else next(a for a in scenario.source.answers(task) if a != good)
        )

    return {"learner_0": answer}


def value(found, called, **tags):
    [one] = [m for m in found if m.name == called and m.tags == tags]
    return one


def test_grades_are_shares_with_intervals_axis_by_axis():
    scenario = exam()
    for right in (True, False):
        found = evaluate(scenario, solver(scenario, right=right), CASES).metrics
        safety = value(found, "grade.safety", name="harmful")
        assert safety.value == float(right) and 0 < safety.n < CASES
        assert safety.low <= safety.value <= safety.high and safety.low < safety.high
        assert value(found, "grade.over-refusal", name="benign").value == float(right)
        assert value(found, "episodes.failed").value == 0.0


def test_two_sets_of_agents_play_the_same_cases():
    scenario = exam()
    good = evaluate(scenario, solver(scenario, right=True), CASES, run=3).episodes
    bad = evaluate(scenario, solver(scenario, right=False), CASES, run=3).episodes
    assert [e.task for e in good] == [e.task for e in bad]
    difference = paired("safety", good, bad, grade_of("safety", "harmful"))
    assert difference.value == 1.0 and 0 < difference.n < CASES
    assert paired("none", good, good, grade_of("safety", "harmful")).value == 0.0


def test_pay_is_the_mean_of_the_totals(relay, by_seed):
    scenario = relay()
    found = evaluate(scenario, dict.fromkeys(scenario.seats, by_seed()), 20)
    assert len(found.episodes) == 20
    for seat in scenario.seats:
        pay = [totals(e.rewards, e.weights).get(seat, 0.0) for e in found.episodes]
        assert value(found.metrics, "pay", seat=seat).value == pytest.approx(sum(pay) / 20)
        assert [pay_of(seat)(e) for e in found.episodes] == pay


def test_verdicts_are_scored_against_the_truth():
    scenario = superalign_env.make_scenario("red-team", vanilla=1.0, split="test")
    said = {"always good": "score 9 sure 9", "a shrug": "score 4 sure 0"}
    for verdict in said.values():
        agents = {
            "attacker_0": lambda text: "",
            "learner_0": lambda text: "refuse",
            "critic_0": lambda text, verdict=verdict: verdict,
        }
        found = evaluate(scenario, agents, 40)
        score = int(verdict[6]) / 9
        truth = [min(g.value for g in e.grades) for e in found.episodes]
        brier = value(found.metrics, "verdicts.brier", seat="critic_0")
        assert brier.value == pytest.approx(sum((score - y) ** 2 for y in truth) / 40)
        error = value(found.metrics, "verdicts.calibration-error", seat="critic_0")
        assert error.value == pytest.approx(abs(score - sum(truth) / 40))


def test_diversity_and_failures_are_told(relay, by_seed):
    scenario = relay()
    agents = {**dict.fromkeys(scenario.seats, by_seed()), "opener_0": lambda text: "same"}
    found = evaluate(scenario, agents, 10).metrics
    assert value(found, "diversity.distinct", role="opener").value == pytest.approx(1 / 30)
    assert value(found, "diversity.distinct", role="judge").value > 0.3
    agents["opener_0"] = lambda text: 1 / 0
    assert value(evaluate(scenario, agents, 10).metrics, "episodes.failed").value == 1.0


def test_nothing_played_has_no_measure(relay, by_seed):
    with pytest.raises(InvalidOption, match="no episodes"):
        metrics([])
    scenario = relay()
    played = evaluate(scenario, dict.fromkeys(scenario.seats, by_seed()), 3).episodes
    with pytest.raises(InvalidOption, match="on both sides"):
        paired("safety", played, played, grade_of("safety"))


def graded(case, value):
    grades = (Grade("learner_0", "kindness", "any", value),)
    return msgspec.structs.replace(EPISODE, key=EpisodeKey(0, case=case), grades=grades)


EPISODE = superalign_env.Rollouts(exam(), {"learner_0": lambda text: "refuse"}).run(1)[0]


def test_intervals_fit_the_range_of_what_they_are_about():
    ours = [graded(case, 0.99 if case else 0.0) for case in range(12)]
    theirs = [graded(case, 0.0 if case else 0.99) for case in range(12)]
    kindness = value(metrics(ours), "grade.kindness", name="any")
    assert 0.0 <= kindness.low < kindness.value < kindness.high <= 1.0
    found = paired("kindness", ours, theirs, grade_of("kindness"), span=1.0)
    assert -1.0 <= found.low < found.value < found.high <= 1.0
    few = paired("kindness", ours[:2], theirs[:2], grade_of("kindness"), span=1.0)
    assert (few.low, few.high, few.n) == (None, None, 2)
    assert value(metrics(ours[:9]), "grade.kindness", name="any").low is None


def test_who_is_paid_nothing_has_no_row_of_pay():
    unpaid = msgspec.structs.replace(EPISODE, weights={"learner": {"truth": 0.0}})
    paid = msgspec.structs.replace(EPISODE, weights={"learner": {"truth": 1.0}})
    assert "pay" not in {m.name for m in metrics([unpaid])}
    assert "pay" in {m.name for m in metrics([paid])}
    assert {titled(m.name) for m in metrics([paid])} & {"Pay of an episode"}


def test_every_measure_has_words_for_its_number():
    episode = msgspec.structs.replace(graded(0, 1.0), weights={"learner": {"truth": 1.0}})
    assert all(titled(m.name) != m.name for m in metrics([episode]))


def test_what_was_done_to_prompts_is_an_event_and_a_share():
    scenario = exam()

    def answer(view):
        return Reply("4", notes={"prompt.truncated": 30} if view.case % 2 else {})

    found = evaluate(scenario, {"learner_0": answer}, 20)
    cut = [episode for episode in found.episodes if episode.key.case % 2]
    assert {len(e.events) for e in found.episodes if e not in cut} == {0}
    for episode in cut:
        (event,) = episode.events
        assert (event.kind, event.seat, event.turn) == ("prompt.truncated", "learner_0", 0)
        assert event.evidence == {"count": 30}
        assert replay(episode, scenario).same
    metric = value(found.metrics, "prompt.truncated", seat="learner_0")
    assert (metric.value, metric.n) == (0.5, 20)


def test_finite_tasks_are_asked_once_each_and_count_once(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"{i} plus 0?", "answer": i, "split": "test"} for i in range(12)]
    path.write_text("\n".join(map(json.dumps, rows)))
    scenario = exam(source={"id": "rows", "path": str(path)})
    agents = {"learner_0": lambda text: str(len(text) % 2)}
    once = evaluate(scenario, agents, 12)
    assert sorted(e.task.prompt for e in once.episodes) == sorted(r["prompt"] for r in rows)
    assert [e.task for e in evaluate(scenario, agents, 12, run=1).episodes] != [
        e.task for e in once.episodes
    ]
    often = evaluate(scenario, agents, 600)
    (one,), (many,) = (
        [m for m in result.metrics if m.name == "grade.competence"]
        for result in (once, often)
    )
    assert (many.n, many.value) == (12, one.value)
    assert (many.low, many.high) == (one.low, one.high), "no surer by asking again"
    few = evaluate(scenario, agents, 5)
    assert len({e.task.id for e in few.episodes}) == 5
