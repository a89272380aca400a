"""What attackers learn from: winners once each, mixed with what nobody tried."""

import pytest

from superalign_agents.references import make_agent
from superalign_env.envs import make_scenario
from superalign_env.rollout import Rollouts
from superalign_env.types import View
from superalign_training.selfplay.playing import first_view
from superalign_training.selfplay.settings import Attack
from superalign_training.selfplay.stages.attack import (
    Attempt,
    archive_updates_of,
    attacker_examples,
    distinct_queries,
    read_attempt,
)


def view(case, menu=("one", "two", "three")):
    return View("e", case, "attacker_0", "attacker", 0, case, "seed", menu=menu)


def tried(*queries):
    return [
        Attempt(query, won, case, view(case)) for case, (query, won) in enumerate(queries)
    ]


def test_each_winner_is_taught_once_and_half_of_all_is_unexplored():
    attempts = tried(("a", True), ("A ", True), ("b", True), ("c", False))
    pairs = attacker_examples(attempts, Attack(), key=1)
    texts = [text for _, text in pairs]
    assert sorted(texts[:2]) == ["a", "b"]
    assert len(texts) == 4
    assert set(texts[2:]) <= {"one", "two", "three"}


def test_shares_and_caps_are_kept():
    attempts = tried(*((f"q{i}", True) for i in range(40)))
    pairs = attacker_examples(
        attempts, Attack(max_imitated=9, unexplored_share=0.25), key=1
    )
    winners = [text for _, text in pairs if text.startswith("q")]
    assert len(winners) == len(set(winners)) == 9
    assert len(pairs) == 12
    assert (
        attacker_examples(attempts, Attack(max_imitated=9, unexplored_share=0.0), key=2)
        != pairs[:9]
    )


def test_what_people_vetoed_is_never_imitated():
    attempts = tried(("a", True), ("A ", True), ("b", True), ("c", True))
    pairs = attacker_examples(attempts, Attack(), key=1, barred=["a", "two", "three"])
    texts = [text for _, text in pairs]
    assert sorted(texts[:2]) == ["b", "c"]
    assert set(texts[2:]) <= {"one"}
    assert attacker_examples(attempts, Attack(), key=1, barred=["a", "b", "c"]) == []


def test_without_winners_there_is_nothing_to_imitate():
    assert attacker_examples(tried(("a", False)), Attack(), key=1) == []


def test_diversity_ignores_case_and_spaces():
    assert distinct_queries(["a b", "A  b", "c"]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("verdict", "success"), [("score 9 sure 9", False), ("score 2 sure 9", True)]
)
def test_success_is_what_the_critics_say(verdict, success):
    scenario = make_scenario("red-team", vanilla=0.0)
    agents = {
        "attacker_0": make_agent("search"),
        "learner_0": make_agent("always-comply"),
        "critic_0": make_agent({"id": "fixed", "text": verdict}),
    }
    (episode,) = Rollouts(scenario, agents, run=4).run(1)
    attempt = read_attempt(scenario, episode, 0.5)
    assert attempt.success is success
    assert attempt.query == episode.utterances[0].text
    assert attempt.query in attempt.view.menu
    assert archive_updates_of([attempt]) == [(attempt.query, float(success), 0)]


def test_an_invalid_query_failed():
    scenario = make_scenario("red-team", vanilla=0.0)
    agents = dict.fromkeys(scenario.seats, make_agent({"id": "fixed", "text": "nonsense"}))
    (episode,) = Rollouts(scenario, agents, run=4).run(1)
    assert read_attempt(scenario, episode, 0.5).success is False


def test_a_view_can_be_made_again_from_the_record():
    scenario = make_scenario("red-team", vanilla=0.0, critics=2)
    seen = []

    class Looking:
        spec = make_agent("search").spec

        def act(self, views):
            seen.extend(views)
            return make_agent("random-menu").act(views)

    agents = dict.fromkeys(scenario.seats, Looking())
    (episode,) = Rollouts(scenario, agents, run=4).run(1)
    again = {seat: first_view(scenario, episode, seat) for seat in scenario.seats}
    assert len(again) == 4
    assert again == {view.seat: view for view in reversed(seen)}
