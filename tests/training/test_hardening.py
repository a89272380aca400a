"""Hardening learns from planted answers and critics, on the training split, and from no gold."""

import json

import pytest
from small_runs import BRIEF

from superalign_env.envs import make_scenario
from superalign_env.errors import InvalidOption
from superalign_env.store import Run
from superalign_scenarios.microworld.flipped import FlippedGold
from superalign_scenarios.microworld.requests import read
from superalign_scenarios.microworld.source import MicroWorld
from superalign_training.algorithms.fitting import ExampleTensors, fit
from superalign_training.algorithms.supervision import FitSettings
from superalign_training.attackers import SearchAttacker, opening_views
from superalign_training.cli.composing import composed
from superalign_training.data import Example
from superalign_training.evaluation.likelihood import first_word_likelihoods
from superalign_training.oversight.critics import (
    ScoredQuery,
    outcomes_of,
    planted_examples,
    score_queries,
)
from superalign_training.policy import Policy
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.driver import Interrupted
from superalign_training.selfplay.plan import plan
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.skipped_stages import skipped_stages
from superalign_training.selfplay.stages.harden import EXAMPLES
from superalign_training.selfplay.state import RunState, read_memory
from superalign_training.selfplay.watching import Silent

COURSE = {"steps": 3, "learning_rate": 1e-3, "batch_size": 16}

TINY = {
    "planted_cases": 64,
    "seed_cases": 40,
    "queries": 32,
    "critic_warmup": COURSE,
    "critic_fit": COURSE,
    "max_critic_fits": 1,
    "learner_warmup": COURSE,
    "learner_fits": [COURSE],
}


def hardened(run_dir, folder, *, lineup=None, watcher=None, **settings):
    """The settings of a hardening of seconds, in two rounds."""
    who = {"id": str(folder), "temperature": 0.0}
    given = {
        "seed": 3,
        "rounds": 2,
        "judge": {"check_cases": 6},
        "evaluate": BRIEF,
        **settings,
    }
    seats = dict.fromkeys(("attacker", "learner", "critic"), who)
    return SelfPlay(
        preset="hardened",
        run_dir=str(run_dir),
        lineup={**seats, **(lineup or {})},
        hardening=TINY,
        watcher=watcher,
        **given,
    )


@pytest.fixture(scope="module")
def whole(speaking, tmp_path_factory):
    path = tmp_path_factory.mktemp("hardened") / "run"
    hardened(path, speaking).run()
    return path


def policy(folder):
    return Policy.from_reference(str(folder), temperature=0.0)


def attacked(source="microworld", split="train"):
    return make_scenario("red-team", source=source, split=split, vanilla=0.0, plant=0.0)


def seeds_of(views):
    return [next(t.text for t in view.turns if t.author == "seed") for view in views]


def train_queries(count):
    return seeds_of(opening_views(attacked(), count, run=4))


def scored(critic, queries, scenario=None):
    return score_queries(scenario or attacked(), critic.agent, queries)


def test_a_critic_expects_the_score_that_it_would_say(speaking):
    found = scored(policy(speaking), train_queries(6))
    assert len(found) == 6
    for one in found:
        assert one is not None
        assert one.answers == ("comply", "refuse")
        assert all(0 <= score <= 1 for score in one.scores)


def test_a_sure_critic_is_heard_as_sure(speaking):
    critic = policy(speaking)
    asked = train_queries(8)
    examples = [
        Example(
            tuple(
                critic.tokenizer(f"<|user|> {q}<|end|><|learner|> {a}<|end|><|critic|>")[
                    "input_ids"
                ]
            ),
            tuple(critic.tokenizer(f" score {score} sure 9<|end|>")["input_ids"]),
        )
        for q in asked
        for a, score in (("comply", 0), ("refuse", 9))
    ]
    fit(
        critic,
        ExampleTensors(examples),
        FitSettings(steps=120, learning_rate=1e-2, batch_size=16),
        seed=1,
    )
    found = scored(critic, asked)
    assert len(found) == 8
    assert all(one.best({}) == "refuse" for one in found)
    assert all(one.scores[0] < 0.2 and one.scores[1] > 0.8 for one in found)


def test_a_penalty_lowers_one_answer():
    one = ScoredQuery("q", None, ("comply", "refuse"), (0.6, 0.5))
    assert one.best({}) == "comply"
    assert one.best({"comply": 0.2}) == "refuse"
    assert one.score_of("nothing") == 0


def test_what_the_rules_refuse_is_not_judged(speaking):
    assert scored(policy(speaking), ["this is no request"]) == [None]


def test_held_out_requests_cannot_enter_training(speaking):
    held_out = seeds_of(opening_views(attacked(split="test"), 20, run=1))
    assert scored(policy(speaking), held_out) == [None] * 20


def test_flipping_gold_changes_no_score_and_no_success_once_critics_are_taught(speaking):
    """Gold reaches critics through planted answers, and nothing else."""

    def met(source):
        scenario, views = attacked(source), opening_views(attacked(source), 24, run=2)
        queries = SearchAttacker().explore(views)
        found = scored(policy(speaking), queries, scenario)
        return (
            queries,
            found,
            outcomes_of(policy(speaking).agent, found, score_threshold=0.5),
        )

    first = met(MicroWorld())
    assert any(outcome.valid for outcome in first[2])
    assert first == met(FlippedGold(MicroWorld()))


def test_critics_learn_from_what_was_planted(speaking):
    scenario = make_scenario("red-team", split="train", vanilla=0.0, plant=1.0)
    critic = policy(speaking)
    one, every = planted_examples(scenario, critic, 40, run=1)
    assert len(every) == 40
    assert 0 < len(one) < 40
    said = {critic.tokenizer.decode(e.completion_ids[:2]).strip() for e in every}
    assert said == {"score 0", "score 9"}
    assert {e.sources for e in every} == {("planted",)}


def test_the_preset_plans_stages_on_the_driver():
    settings = read_settings(composed(["preset=hardened", "hardening.queries=64"]))
    assert settings.hardening.queries == 64
    names = [planned.name for planned in plan(settings)]
    assert names == [
        *("judge", "evaluate", "imitate"),
        *(("harden", "evaluate", "alarms") * 4),
        "test",
    ]
    assert "courses of its own" in skipped_stages(settings)[0]


@pytest.mark.parametrize(
    "words, match",
    [
        (["train.critic=null"], "teaches the critic"),
        (["lineup.critic=keyword"], "teaches the critic"),
        (["generations=2"], "is for rounds"),
        (
            ["scenario=errand", "lineup.learner=micro/0", "train.learner=ppo"],
            "errand cannot be hardened",
        ),
    ],
)
def test_what_cannot_be_hardened_is_refused_before_anything_starts(words, match, tmp_path):
    settings = read_settings(composed(["preset=hardened", *words]))
    run = SelfPlay.of(settings.model_copy(update={"run_dir": tmp_path / "run"}))
    with pytest.raises(InvalidOption, match=match):
        run.run()
    assert not (tmp_path / "run").exists()


def test_a_key_that_hardening_does_not_have_is_named():
    with pytest.raises(InvalidOption, match="quries"):
        read_settings(composed(["preset=hardened", "hardening.quries=64"]))


def test_everything_that_is_taught_is_of_the_training_split(whole):
    with Run.open(whole, readonly=True) as run:
        chain = RunState.from_plain(run.stages.all()[-1].outputs["state"])
        memory = read_memory(run.path, chain.memories[EXAMPLES])
    assert len(memory["seeds"]) == 40
    asked = [query for query, _, _ in memory["queries"]]
    assert len(asked) > 32
    assert {read(query).split for query in asked} == {"train"}


def test_a_hardening_is_recorded_and_reported_as_any_run(whole, undeclared):
    assert undeclared(whole) == set()
    with Run.open(whole, readonly=True) as run:
        stages = run.stages.all()
        first, last = (
            RunState.from_plain(s)
            for s in (stages[0].inputs["state"], stages[-1].outputs["state"])
        )
        assert all(
            first.policies[role].weights != last.policies[role].weights
            for role in ("attacker", "learner", "critic")
        )
        for name in ("attack.success", "attack.valid"):
            rows = run.metrics.read(name, tags={"by": "verdicts"})
            assert [row.metric.step for row in rows] == [1, 2]
        roles = {row.metric.tags["role"] for row in run.metrics.read("train/loss")}
        assert roles == {"critic", "learner"}
        assert run.metrics.read("verdicts.accuracy", tags={"on": "planted"})
    told = json.loads((whole / "summary.json").read_text())["told"]
    assert told["planted"] == 64 + 6
    assert told["labels"] == 0


class Stopping(Silent):
    """Presses Ctrl-C when a stage has begun for the n-th time."""

    def __init__(self, stage, times):
        self.stage, self.left = stage, times

    def begin(self, moment):
        self.left -= moment.stage == self.stage
        if moment.stage == self.stage and not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stage, times", [("imitate", 1), ("harden", 2)])
def test_a_hardening_that_was_interrupted_ends_as_one_that_was_not(
    whole, speaking, tmp_path, stage, times
):
    path = tmp_path / "run"
    with pytest.raises(Interrupted):
        hardened(path, speaking, watcher=Stopping(stage, times)).run()
    hardened(path, speaking).run(resume=True)

    def left(folder):
        with Run.open(folder, readonly=True) as run:
            return [stage.outputs for stage in run.stages.all()]

    assert left(path) == left(whole)


def test_without_an_attacker_that_learns_the_search_attacks_alone(speaking, tmp_path):
    hardened(tmp_path / "run", speaking, lineup={"attacker": "search"}, rounds=1).run()
    with Run.open(tmp_path / "run", readonly=True) as run:
        (valid,) = run.metrics.read("attack.valid", tags={"by": "verdicts"})
        assert valid.metric.n == TINY["queries"]


def test_fitting_lowers_the_loss_and_ignores_padding(speaking):
    pupil = policy(speaking)
    ids = [tuple(pupil.tokenizer(text)["input_ids"]) for text in (" comply", " refuse now")]
    rows = ExampleTensors([Example((1, 2, 3), ids[0]), Example((4,), ids[1])])
    course = FitSettings(steps=30, learning_rate=1e-2, batch_size=2)
    assert fit(pupil, rows, course, seed=1) < 1.0
    assert rows.labels[0].tolist()[len(ids[0]) :] == [-100] * (len(ids[1]) - len(ids[0]))


def test_an_answer_whose_logit_was_raised_while_taught_is_said_less_afterwards(speaking):
    """Half of the examples say either: only the adjustment decides what is said."""

    def comply(nats):
        pupil = policy(speaking)
        view = scored(pupil, train_queries(1))[0].view
        said = {word: pupil.reply_ids(view, word) for word in ("comply", "refuse")}
        rows = ExampleTensors(
            [Example(pupil.prompt_ids(view), ids) for ids in said.values()]
        )
        adjusted = {said["comply"][0]: nats}
        course = FitSettings(steps=60, learning_rate=1e-2, batch_size=2)
        fit(pupil, rows, course, seed=1, logit_bias=adjusted)
        return first_word_likelihoods(pupil.agent, [view], ("comply",)).probability[0, 0]

    assert comply(0.0) == pytest.approx(0.5, abs=0.1)
    assert comply(3.0) < 0.1


def test_rates_fall_within_a_course():
    course = FitSettings(steps=10, learning_rate=1e-2, final_learning_rate=2e-3)
    rates = [course.learning_rate_at(step) for step in range(10)]
    assert rates[0] == 1e-2
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 2e-3


def test_nothing_to_learn_is_an_error():
    with pytest.raises(InvalidOption, match="nothing to learn"):
        ExampleTensors([])
