"""The Parallel face: groups at once, and the same pay as one by one."""

import pytest
from pettingzoo.test.parallel_test import parallel_api_test
from pettingzoo.test.seed_test import parallel_seed_test

import superalign_env
from superalign_env.errors import InvalidUtterance, ProtocolError
from superalign_env.rewards import totals


@pytest.fixture(params=["echo", "exam", "red-team", "weak-to-strong", "relay"])
def scenario(request, relay):
    return (
        relay() if request.param == "relay" else superalign_env.make_scenario(request.param)
    )


def play(env, answer, seed=None):
    """Play a case; return pay by seat and the words."""
    _, infos = env.reset(seed=seed)
    sums = dict.fromkeys(env.agents, 0.0)
    while env.agents:
        actions = {s: answer(infos[s]["view"]).text for s in infos if infos[s]["asked"]}
        _, rewards, _, _, infos = env.step(actions)
        for seat, reward in rewards.items():
            sums[seat] += reward
    return sums, [u.text for u in env.game.utterances]


def test_pettingzoo_finds_no_fault(scenario, capsys):
    parallel_api_test(superalign_env.parallel_env(scenario), num_cycles=300)


def test_pettingzoo_finds_it_seeded(scenario):
    parallel_seed_test(lambda: superalign_env.parallel_env(scenario))


def test_all_live_seats_get_all_five_entries(scenario, by_seed):
    env = superalign_env.parallel_env(scenario)
    _, infos = env.reset(seed=1)
    steps = 0
    while env.agents:
        live, steps = list(env.agents), steps + 1
        actions = {
            s: by_seed.answer(infos[s]["view"]).text for s in infos if infos[s]["asked"]
        }
        *five, infos = env.step(actions)
        assert [list(entry) for entry in [*five, infos]] == [live] * 5
    assert steps > 0


def test_pay_and_words_are_those_of_aec_and_engine(scenario, by_seed):
    parallel, aec = superalign_env.parallel_env(scenario), superalign_env.env(scenario)
    agents = dict.fromkeys(scenario.seats, by_seed())
    engine = superalign_env.Rollouts(scenario, agents, run=6).run(12)
    for case in range(12):
        sums, words = play(parallel, by_seed.answer, seed=6 if not case else None)
        aec.reset(seed=6 if not case else None)
        stepped = dict.fromkeys(scenario.seats, 0.0)
        for seat in aec.agent_iter():
            _, reward, terminated, truncated, info = aec.last()
            stepped[seat] += reward
            over = terminated or truncated
            aec.step(None if over else by_seed.answer(info["view"]).text)
        pay = totals(engine[case].rewards, engine[case].weights)
        assert words == [u.text for u in engine[case].utterances]
        for seat in scenario.seats:
            assert sums[seat] == pytest.approx(stepped[seat], abs=1e-9)
            assert sums[seat] == pytest.approx(pay.get(seat, 0.0), abs=1e-9)


def test_rewards_really_come_in_the_middle_of_things_here(relay, by_seed):
    """Otherwise the equality above would prove nothing."""
    env = superalign_env.parallel_env(relay())
    env.reset(seed=1)
    _, rewards, _, _, _ = env.step({"opener_0": "four"})
    assert rewards == {"opener_0": 1.0, "judge_0": 0.0, "judge_1": 0.0} and env.agents
    _, rewards, _, _, _ = env.step({"judge_0": "score 9 sure 9", "judge_1": "xy"})
    assert rewards == {"opener_0": 1.0, "judge_0": 0.5, "judge_1": 1.0} and env.agents


def test_a_seat_that_is_not_asked_is_not_heard(relay):
    env = superalign_env.parallel_env(relay())
    env.reset()
    env.step({"opener_0": "mine", "judge_0": "too early", "judge_1": 5})
    assert [u.text for u in env.game.utterances] == ["mine"]


def test_a_seat_that_is_asked_must_speak(relay):
    env = superalign_env.parallel_env(relay())
    env.reset()
    env.step({"opener_0": "mine"})
    with pytest.raises(ProtocolError, match="judge_1 must speak"):
        env.step({"judge_0": "only me"})
    env.step({"judge_0": "me", "judge_1": "and me"})
    assert len(env.game.utterances) == 3


@pytest.mark.parametrize("action", [5, "a\x00", "\ud800", "z" * 201])
def test_an_action_that_is_none_is_refused_before_anything_happens(relay, action):
    env = superalign_env.parallel_env(relay())
    env.reset()
    env.step({"opener_0": "mine"})
    with pytest.raises(InvalidUtterance):
        env.step({"judge_0": "fine", "judge_1": action})
    assert len(env.game.utterances) == 1 and len(env.game.group) == 2
    repaired = superalign_env.parallel_env(relay(), on_invalid="penalise")
    repaired.reset()
    _, rewards, _, _, _ = repaired.step({"opener_0": action})
    assert rewards["opener_0"] < 0 or action == "z" * 201


def test_an_ended_environment_stays_empty(relay, by_seed):
    env = superalign_env.parallel_env(relay(rounds=1))
    play(env, by_seed.answer)
    assert env.agents == [] and env.step({}) == ({}, {}, {}, {}, {})
    assert env.reset()[0].keys() == set(env.possible_agents)
