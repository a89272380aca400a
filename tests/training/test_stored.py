"""Learning from the record: weighed, fresh enough, spoken by the same family; else refused."""

import shutil

import numpy as np
import pytest

from superalign_agents.references import make_agent
from superalign_env.envs import make_scenario
from superalign_env.errors import InvalidOption
from superalign_env.rollout import Rollouts
from superalign_env.seating import as_agent
from superalign_env.store import EpisodeWriter, Run
from superalign_env.types import Question, Signal
from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.ppo import Ppo
from superalign_training.algorithms.reinforce import Reinforce
from superalign_training.algorithms.rloo import Rloo
from superalign_training.data import Stored, training_rows
from superalign_training.policy import Policy

FAST = {"learning_rate": 1e-2}
ALGORITHMS = {
    "grpo": Grpo(steps=30, batch_size=32, num_generations=4, beta=0.0, **FAST),
    "rloo": Rloo(steps=30, batch_size=32, num_generations=4, beta=0.0, **FAST),
    "reinforce": Reinforce(steps=30, batch_size=64, num_generations=4, kl_coef=0.0, **FAST),
    "ppo": Ppo(
        steps=8, batch_size=64, num_generations=4, update_epochs=2, kl_coef=0.0, **FAST
    ),
}


def by_case(rows):
    cases = {}
    for row in rows:
        cases.setdefault(row.case, []).append(row)
    return list(cases.values())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_was_once_said_teaches_what_to_say(toys, name):
    policy, algorithm = toys.small_policy(), ALGORITHMS[name]
    recorded = toys.Delayed(policy, members=4)(0, 128)
    afterwards = toys.Delayed(policy, seed=9)
    before = np.mean([row.to_go for row in afterwards(0, 200)])
    numbers = algorithm.improve(policy, Stored(by_case(recorded)), seed=1)
    assert numbers["cases"] >= 128
    after = np.mean([row.to_go for row in afterwards(0, 200)])
    assert after > before + 0.25


@pytest.mark.parametrize("name", ALGORITHMS)
def test_weights_that_have_not_moved_learn_from_the_record_as_from_life(toys, name):
    """One step: all importance weights are 1, so the update is the same up to rounding."""
    from superalign_training.data import Live  # noqa: PLC0415 - beside its contrast

    algorithm = ALGORITHMS[name].model_copy(update={"steps": 1, "batch_size": 16})
    if name == "ppo":
        algorithm = algorithm.model_copy(update={"num_minibatches": 1, "update_epochs": 1})
    weights = []
    for stored in (False, True):
        policy = toys.small_policy()
        rows = toys.Delayed(policy, members=4)(0, 16)
        experience = (
            Stored(by_case(rows), cap=1.0) if stored else Live(lambda *_, r=rows: r)
        )
        algorithm.improve(policy, experience, seed=1)
        weights.append(policy.snapshot())
    live, recorded = weights
    assert live.keys() == recorded.keys() and live
    for weight in live:
        assert (live[weight] - recorded[weight]).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["grpo", "reinforce", "ppo"])
def test_turns_that_have_become_unlikely_hardly_count(toys, name):
    """What other weights said: how sure they were of it decides."""
    moved = []
    for sure in (-0.01, -6.0):
        policy, algorithm = toys.small_policy(), ALGORITHMS[name]
        algorithm = algorithm.model_copy(update={"steps": 1, "batch_size": 16})
        if name == "ppo":
            algorithm = algorithm.model_copy(
                update={"normalize_advantage": False, "vf_coef": 0.0}
            )
        rows = toys.Bandit(policy, members=4)(0, 16)
        rows = [row._replace(logprobs=(sure,)) for row in rows]
        numbers = algorithm.improve(policy, Stored(by_case(rows), cap=2.0), seed=1)
        moved.append(abs(numbers["loss"]))
    assert moved[0] < 0.05 * moved[1]


def test_cases_come_in_order_and_then_again_and_never_twice_at_once(toys):
    policy = toys.small_policy()
    stored = Stored(by_case(toys.Bandit(policy, members=2)(0, 3)))
    assert len(stored) == 3
    assert [row.case for row in stored.play(0, 2)] == [0, 0, 1, 1]
    again = stored.play(2, 2)
    assert [row.case for row in again] == [2, 2, 3, 3]
    assert [row.episode for row in again] == ["c2-m0", "c2-m1", "c0-m0", "c0-m1"]
    assert len(stored.play(0, 99)) == 6


@pytest.mark.parametrize("cap", [0.0, -1.0, float("nan")])
def test_weights_need_somewhere_to_be_cut_off(toys, cap):
    rows = by_case(toys.Bandit(toys.small_policy())(0, 2))
    with pytest.raises(InvalidOption, match="cut off"):
        Stored(rows, cap=cap)


# --- from a run


def lenient(text):
    return "score 9 sure 9" if "<|learner|> comply" in text else "score 0 sure 9"


@pytest.fixture(scope="module")
def record(speaking, tmp_path_factory):
    """A run in which a policy was recorded in rounds 0 and 1; the folder."""
    folder = tmp_path_factory.mktemp("record") / "run"
    policy = Policy.from_reference(str(speaking))
    scenario = make_scenario("red-team", vanilla=1.0, refine=1)
    agents = {
        "attacker_0": make_agent("search"),
        "learner_0": policy.agent,
        "critic_0": as_agent(lenient),
    }
    with Run.create(folder, kind="train", config={}, seed=1) as run:
        for number in range(2):
            stage = run.stages.begin("learn", round=number)
            with EpisodeWriter(run, stage=stage.id) as writer:
                Rollouts(
                    scenario,
                    agents,
                    run=5,
                    round=number,
                    group=4,
                    fork_at="learner_0",
                    sinks=[writer],
                ).run(6)
            run.stages.finish(stage.id)
    return folder


def test_a_run_gives_its_rows_case_by_case(record, speaking):
    policy = Policy.from_reference(str(speaking))
    with Run.open(record, readonly=True) as run:
        stored = Stored.from_run(run, "learner_0", policy, now=(0, 1))
        newest = Stored.from_run(run, "learner_0", policy, now=(0, 1), where={"round": 1})
        episodes = list(run.episodes())
    assert len(stored) == 12, "case 3 of round 0 and case 3 of round 1 are two cases"
    assert len(newest) == 6
    rows = stored.play(0, 12)
    assert [row._replace(case=0) for row in rows] == [
        row._replace(case=0, origin="stored")
        for row in training_rows(episodes, "learner_0")
    ]
    groups = by_case(rows)
    assert all(len(group) == 4 for group in groups)
    assert all(len({row.prompt_ids for row in group}) == 1 for group in groups)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_learns_from_a_run(record, speaking, name):
    policy = Policy.from_reference(str(speaking))
    with Run.open(record, readonly=True) as run:
        stored = Stored.from_run(run, "learner_0", policy, now=(0, 1))
    algorithm = ALGORITHMS[name].model_copy(update={"steps": 2, "batch_size": 6})
    before = policy.hash
    numbers = algorithm.improve(policy, stored, seed=1)
    assert policy.hash != before
    assert numbers["cases"] == 12


def test_a_label_that_came_later_counts(record, speaking):
    policy = Policy.from_reference(str(speaking))
    with Run.open(record, readonly=True) as run:
        plain = Stored.from_run(run, "learner_0", policy, now=(0, 1)).play(0, 1)
        veto = Signal("veto", plain[0].episode, plain[0].turns[-1], "human", 0.0)
        vetoed = Stored.from_run(run, "learner_0", policy, now=(0, 1), signals=[veto]).play(
            0, 1
        )
    assert vetoed[0].turn_rewards[-1] == -1.0
    assert vetoed[1:] == plain[1:]


def test_what_was_taken_back_and_the_random_slice_pay_nothing(record, speaking, tmp_path):
    policy = Policy.from_reference(str(speaking))
    copied = shutil.copytree(record, tmp_path / "run")
    with Run.open(copied) as run:

        def first(signals=()):
            return Stored.from_run(
                run, "learner_0", policy, now=(0, 1), signals=signals
            ).play(0, 1)

        plain = first()
        place = plain[0].episode, plain[0].turns[-1]
        (veto,) = run.signals.append([Signal("veto", *place, "ann", 0.0)])
        assert first(run.signals.read()) != plain
        run.questions.undo(veto.id, "ann")
        run.questions.ask([Question("q", "label", *place, slice="random")])
        run.signals.append([Signal("label", *place, "ann", 0.1, question="q")])
        assert first(run.signals.read()) == plain


def test_episodes_of_too_many_rounds_ago_are_refused(record, speaking):
    policy = Policy.from_reference(str(speaking))
    with Run.open(record, readonly=True) as run:
        for now in ((0, 2), (1, 1), (0, 0)):
            with pytest.raises(InvalidOption, match="fresh enough"):
                Stored.from_run(run, "learner_0", policy, now=now)
        assert len(Stored.from_run(run, "learner_0", policy, now=(0, 2), staleness=2)) == 12


def test_words_of_another_family_are_refused(record):
    policy = Policy.from_reference("micro/1")
    with (
        Run.open(record, readonly=True) as run,
        pytest.raises(InvalidOption, match=r"but micro/1 shall learn"),
    ):
        Stored.from_run(run, "learner_0", policy, now=(0, 1))


def test_words_of_another_tokenizer_are_refused(record, speaking):
    policy = Policy.from_reference(str(speaking))

    class Shifted:
        def __len__(self):
            return len(policy.tokenizer)

        def decode(self, ids, **options):
            return policy.tokenizer.decode([i - 1 for i in ids], **options)

    class Learner:
        reference, tokenizer = policy.reference, Shifted()

    with (
        Run.open(record, readonly=True) as run,
        pytest.raises(InvalidOption, match="mean something else"),
    ):
        Stored.from_run(run, "learner_0", Learner(), now=(0, 1))


def test_words_whose_likelihood_nobody_wrote_down_are_refused(record):
    class Learner:
        reference, tokenizer = "callable", None

    with Run.open(record, readonly=True) as run:
        critic = next(run.episodes()).seats["critic_0"]
        Learner.reference = critic.id
        with pytest.raises(InvalidOption, match="no recorded episodes"):
            # A critic without tokens gives no rows at all.
            Stored.from_run(run, "critic_0", Learner(), now=(0, 1))


def test_replies_with_ids_but_without_log_probabilities_are_refused(tmp_path):
    from superalign_env.types import AgentSpec, Reply  # noqa: PLC0415 - only here

    class Forgetful:
        spec = AgentSpec("forgetful")

        def act(self, views):
            return [Reply("hello", prompt_ids=(5,), token_ids=(6, 7)) for _ in views]

    class Greedy(Forgetful):
        spec = AgentSpec("forgetful", options={"temperature": 0})

    class Learner:
        reference, tokenizer = "forgetful", None

    for agent, reason in (
        (Forgetful(), "no log-probabilities"),
        (Greedy(), "temperature 0"),
    ):
        scenario = make_scenario("echo")
        path = tmp_path / reason.replace(" ", "-")
        with Run.create(path, kind="play", config={}, seed=1) as run:
            with EpisodeWriter(run) as writer:
                Rollouts(
                    scenario, dict.fromkeys(scenario.seats, agent), sinks=[writer]
                ).run(1)
            with pytest.raises(InvalidOption, match=reason):
                Stored.from_run(run, scenario.seats[0], Learner(), now=(0, 0))


def test_a_run_without_such_episodes_is_refused(record, speaking):
    policy = Policy.from_reference(str(speaking))
    with (
        Run.open(record, readonly=True) as run,
        pytest.raises(InvalidOption, match="no recorded episodes"),
    ):
        Stored.from_run(run, "learner_0", policy, now=(0, 1), where={"round": 7})
