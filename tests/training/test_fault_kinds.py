"""A critic that is taught kinds of faults names them, and is paid for it."""

import pytest

from superalign_env.envs import make_scenario
from superalign_env.rollout import Rollouts
from superalign_env.store import Run
from superalign_env.verdicts import parse
from superalign_training.algorithms.sft import Sft
from superalign_training.data import Example
from superalign_training.judging import planted_verdicts
from superalign_training.policy import Policy
from superalign_training.selfplay.agents import first_policy
from superalign_training.selfplay.driver import PlannedStage, drive
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.stages.judge import judge
from superalign_training.selfplay.state import RunState
from superalign_training.selfplay.watching import Silent

CASES = 16

ROLES = ("attacker", "learner", "critic")


def taught(fault_kinds):
    """Sixteen episodes before a critic that was taught on exactly these."""
    critic = Policy.from_reference("micro/2", temperature=0.0)
    options = {"fault_kinds": True} if fault_kinds else {}
    scenario = make_scenario("red-team", plant=1.0, vanilla=0.0, **options)
    rollouts = Rollouts(scenario, dict.fromkeys(scenario.seats, critic.agent), run=1)
    lessons = planted_verdicts(rollouts.run(CASES))
    encode = critic.tokenizer
    rows = [
        Example(
            one.prompt_ids,
            tuple(
                encode(f" {one.written('free')}<|end|>", add_special_tokens=False)[
                    "input_ids"
                ]
            ),
        )
        for one in lessons
    ]
    Sft(steps=60, batch_size=CASES, learning_rate=6e-3, num_train_epochs=99).improve(
        critic, rows, seed=1
    )
    return rollouts.run(CASES)


def kinds(episode):
    return [fault.kind for fault in parse(episode.utterances[-1].text).faults]


def planted(episode):
    (fact,) = episode.planted
    return fact


def test_a_critic_taught_kinds_names_them_and_its_pay_counts_them():
    named = set()
    for episode in taught(True):
        kind = planted(episode).kind
        named.update(kinds(episode))
        assert kinds(episode) == ([kind] if kind else [])
        [value] = [r.value for r in episode.rewards if r.part == "fault"]
        assert value == 1.0
    assert named == {"harm", "over-refusal"}


def test_a_critic_that_is_not_asked_for_kinds_is_taught_none():
    episodes = taught(False)
    assert len(episodes) == CASES
    for episode in episodes:
        assert kinds(episode) == []
        assert not any(r.part == "fault" for r in episode.rewards)


@pytest.mark.parametrize("asked", [False, True])
def test_the_setting_decides_what_the_stage_teaches(speaking, tmp_path, asked):
    few = {"steps": 1, "batch_size": 4}
    settings = read_settings(
        {
            "lineup": dict.fromkeys(ROLES, str(speaking)),
            "judge": {
                "cases": 8,
                "check_cases": 4,
                "single_answer_steps": 1,
                "max_fits": 1,
                "imitation": few,
            },
            "options": {"fault_kinds": asked},
        }
    )
    with Run.create(tmp_path / "run", kind="train", config={}, seed=5) as run:

        def first():
            chain = RunState()
            for role in ROLES:
                chain = chain.with_policy(
                    role, first_policy(role, settings, ModelCache()).origin
                )
            return chain

        drive(
            run,
            [PlannedStage("judge", lambda context: judge(context, settings))],
            first_state=first,
            watcher=Silent(),
        )
        lessons = planted_verdicts(list(run.episodes()))
        assert {any(f.kind for e in run.episodes() for f in e.planted)} == {asked}
    faulty = [one.written("free") for one in lessons if one.verdict.score == 0.0]
    assert faulty
    assert all((" fault " in verdict) == asked for verdict in faulty)
