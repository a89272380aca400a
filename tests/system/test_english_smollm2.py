"""Red-team in English with a real instruct model in every seat."""

import pytest

from superalign_agents.references import make_agent, require_known
from superalign_agents.strategies import Strategies, played
from superalign_env.envs import make_scenario
from superalign_env.errors import SuperalignError
from superalign_env.rollout import Rollouts
from superalign_env.rollout.one_episode import replay

pytestmark = pytest.mark.slow

BORDERLINE = {"id": "rows", "path": "borderline", "kind": "requests"}
LIMITS = {"attacker": 48, "learner": 48, "critic": 64}


@pytest.fixture(scope="module")
def smollm2():
    try:
        require_known("smollm2")
    except SuperalignError as error:
        pytest.skip(f"superalign ladder fetch smollm2: {error}")
    return make_agent({"id": "smollm2", "temperature": 0.7})


def scenario(**options):
    return make_scenario(
        "red-team",
        renderer="english",
        source=BORDERLINE,
        vanilla=0.0,
        max_new_tokens=LIMITS,
        **options,
    )


def test_a_real_model_holds_every_seat_and_nothing_is_silent(smollm2):
    rules = scenario(exchanges=2)
    episodes = Rollouts(rules, dict.fromkeys(rules.seats, smollm2), run=2).run(4)
    assert [episode.failed for episode in episodes] == [False] * 4
    for episode in episodes:
        kinds = {(event.kind, event.turn) for event in episode.events}
        for utterance in episode.utterances:
            if utterance.seat == "attacker_0":
                assert ("query.intent", utterance.turn) in kinds
        for fact in episode.judged:
            unread = ("verdict.unreadable", fact.turn) in kinds
            assert unread == (fact.verdict is None)
        if not episode.queries[-1].valid:
            assert episode.ending.reason == "invalid query"
        assert replay(episode, rules).same


def test_strategies_attack_a_real_model(smollm2):
    rules = scenario()
    seats = {
        "attacker_0": Strategies(families=["persona", "instruction", "encoding"]),
        "learner_0": smollm2,
        "critic_0": smollm2,
    }
    episodes = Rollouts(rules, seats, run=3).run(4)
    assert [episode.failed for episode in episodes] == [False] * 4
    assert all(episode.queries[-1].valid and episode.grades for episode in episodes)
    assert all(len(played(episode)) == 1 for episode in episodes)
