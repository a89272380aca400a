"""Whole episodes, twice: in this process, in others, under other hash seeds and widths."""

import json
import os
import subprocess
import sys

import pytest

import superalign_env
from superalign_env.canonical import content_hash, to_json
from superalign_env.rollout import Rollouts, play
from superalign_env.seeding import mix

SCENARIOS = {
    "echo": {},
    "exam": {
        "source": {"id": "microworld", "families": ["requests", "arithmetic", "strings"]}
    },
    "red-team": {"critics": 2, "refine": 1, "plant": 0.3, "vanilla": 0.3},
    "weak-to-strong": {
        "supervisors": 2,
        "critics": 1,
        "noise": {"id": "iid", "rate": 0.3},
        "rejected": "asked-again",
    },
}

PLAYER = """
import json, sys
import superalign_env
from superalign_env.canonical import content_hash
from superalign_env.seeding import mix

def answer(view):
    luck = mix(view.seed, 1)
    if view.menu and luck % 4:
        return view.menu[luck % len(view.menu)]
    return f"{view.seat} says {luck % 1000} in {len(view.text)}"

said = {}
for name, options in json.loads(sys.argv[1]).items():
    scenario = superalign_env.make_scenario(name, **options)
    agents = dict.fromkeys(scenario.seats, answer)
    rollouts = superalign_env.Rollouts(scenario, agents, run=11, group=2, live=int(sys.argv[2]))
    said[name] = [content_hash(episode) for episode in rollouts.run(10)]
print(json.dumps(said))
"""


def answer(view):
    luck = mix(view.seed, 1)
    if view.menu and luck % 4:
        return view.menu[luck % len(view.menu)]
    return f"{view.seat} says {luck % 1000} in {len(view.text)}"


def here(name, live=64, **more):
    scenario = superalign_env.make_scenario(name, **SCENARIOS[name])
    agents = dict.fromkeys(scenario.seats, answer)
    return Rollouts(scenario, agents, run=11, group=2, live=live, **more).run(10)


def test_other_processes_and_hash_seeds_play_the_same_episodes():
    expected = {name: [content_hash(e) for e in here(name)] for name in SCENARIOS}
    for hash_seed, live in (("0", "1"), ("12345", "5"), ("random", "64")):
        done = subprocess.run(
            [sys.executable, "-c", PLAYER, json.dumps(SCENARIOS), live],
            env={
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == expected, (
            f"PYTHONHASHSEED={hash_seed} live={live}"
        )


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_part_of_a_run_is_what_it_is_in_the_whole(name):
    whole = here(name)
    scenario = superalign_env.make_scenario(name, **SCENARIOS[name])
    agents = dict.fromkeys(scenario.seats, answer)
    tail = Rollouts(scenario, agents, run=11, group=2, first_case=6).run(4)
    assert tail == whole[12:]


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_environments_and_one_reset_twice_play_the_same(name):
    options = SCENARIOS[name]
    one, other = (superalign_env.env(name, seed=4, **options) for _ in range(2))
    agents = dict.fromkeys(one.scenario.seats, answer)
    first = [play(one, agents) for _ in range(6)]
    assert [play(other, agents) for _ in range(6)] == first
    one.reset(seed=4, options={"case": 0})
    again = superalign_env.env(name, **options)
    again.reset(seed=4)
    assert again.game.state == one.game.state


@pytest.mark.parametrize("name", SCENARIOS)
def test_another_seed_is_another_run(name):
    scenario = superalign_env.make_scenario(name, **SCENARIOS[name])
    agents = dict.fromkeys(scenario.seats, answer)
    runs = [Rollouts(scenario, agents, run=run).run(10) for run in range(3)]
    assert len({content_hash([e.utterances for e in run]) for run in runs}) == 3


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_made_again_from_its_record(name):
    episodes = here(name)
    assert len(episodes) == 20
    for episode in episodes[:3]:
        options = json.loads(to_json(episode.options))
        again = superalign_env.make_scenario(episode.scenario, **options)
        agents = dict.fromkeys(again.seats, answer)
        key = episode.key
        twin = Rollouts(again, agents, run=key.run, group=2, first_case=key.case).run(1)
        assert twin[key.member] == episode
