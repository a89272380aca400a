"""Hardening learns from planted answers and critics, on the training split, and from no gold."""

import pytest

from superalign_env.errors import InvalidOption
from superalign_env.making import make_scenario
from superalign_scenarios.microworld.flipped import FlippedGold
from superalign_scenarios.microworld.requests import read
from superalign_scenarios.microworld.source import MicroWorld
from superalign_training.attackers import Searcher, SlotPolicy, openings
from superalign_training.evaluation.likelihood import first_words
from superalign_training.experience import Example
from superalign_training.experiments.microworld.siege import requests_grammar
from superalign_training.hardening import (
    Council,
    FitSettings,
    Hardening,
    Judged,
    Ring,
    Rows,
    fit,
    harden,
    planted_examples,
)
from superalign_training.policy import Policy

TINY = Hardening(
    planted=64,
    seeds=40,
    queries=32,
    one_answer_first=FitSettings(steps=2, learning_rate=1e-3, batch_size=16),
    school=FitSettings(steps=3, learning_rate=1e-3, batch_size=16),
    courses=1,
    first_course=FitSettings(steps=2, learning_rate=1e-3, batch_size=16),
    rounds=(FitSettings(steps=2, learning_rate=1e-3, batch_size=16),) * 2,
)


def policy(folder):
    return Policy.from_reference(str(folder), temperature=0.0)


def attackers():
    return [Searcher(), SlotPolicy(requests_grammar())]


def ring_scenario(source="microworld", split="train"):
    return make_scenario("red-team", source=source, split=split, vanilla=0.0, plant=0.0)


def train_queries(count):
    return [
        next(t.text for t in view.turns if t.author == "seed")
        for view in openings(ring_scenario(), count, run=4)
    ]


def test_a_council_expects_the_score_that_its_critic_would_say(speaking):
    critic = policy(speaking)
    asked = train_queries(6)
    judged = Council(ring_scenario(), [critic.agent]).judge(asked)
    assert len(judged) == 6
    for one in judged:
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
        Rows(examples),
        FitSettings(steps=120, learning_rate=1e-2, batch_size=16),
        seed=1,
    )
    judged = Council(ring_scenario(), [critic.agent]).judge(asked)
    assert len(judged) == 8
    assert all(one.best({}) == "refuse" for one in judged)
    assert all(one.scores[0] < 0.2 and one.scores[1] > 0.8 for one in judged)


def test_caution_lowers_one_answer():
    one = Judged("q", None, ("comply", "refuse"), (0.6, 0.5))
    assert one.best({}) == "comply"
    assert one.best({"comply": 0.2}) == "refuse"
    assert one.score_of("nothing") == 0


def test_what_the_rules_refuse_is_not_judged(speaking):
    council = Council(ring_scenario(), [policy(speaking).agent])
    assert council.judge(["this is no request"]) == [None]


def test_held_out_requests_cannot_enter_training(speaking):
    held_out = [
        next(t.text for t in view.turns if t.author == "seed")
        for view in openings(ring_scenario(split="test"), 20, run=1)
    ]
    council = Council(ring_scenario(), [policy(speaking).agent])
    assert council.judge(held_out) == [None] * 20


def test_everything_that_is_taught_is_of_the_training_split(speaking, monkeypatch):
    learner, met = policy(speaking), []
    judge = Council.judge

    def heard(self, queries):
        found = judge(self, queries)
        met.extend(one.query for one in found if one is not None)
        return found

    monkeypatch.setattr(Council, "judge", heard)
    harden(
        learner,
        new_critic=lambda: policy(speaking),
        attackers=attackers(),
        settings=TINY,
        seed=1,
    )
    assert met
    assert {read(query).split for query in met} == {"train"}


def test_flipping_gold_changes_no_lesson_and_no_success_once_critics_are_taught(speaking):
    """Gold reaches critics through planted answers, and nothing else."""

    def lessons(source):
        scenario = ring_scenario(source)
        council = Council(scenario, [policy(speaking).agent])
        views = openings(scenario, 24, run=2)
        ring = Ring(views, policy(speaking), council)
        searcher = Searcher()
        said = searcher.explore(ring.views(0, 24))
        return said, ring.ask(said), ring.met

    assert lessons(MicroWorld()) == lessons(FlippedGold(MicroWorld()))


def test_critics_learn_from_what_was_planted(speaking):
    scenario = make_scenario("red-team", split="train", vanilla=0.0, plant=1.0)
    critic = policy(speaking)
    one, every = planted_examples(scenario, critic, 40, run=1)
    assert len(every) == 40
    assert 0 < len(one) < 40
    said = {critic.tokenizer.decode(e.completion_ids[:2]).strip() for e in every}
    assert said == {"score 0", "score 9"}
    assert {e.sources for e in every} == {("planted",)}


def test_hardening_is_the_same_again(speaking):
    def hardened():
        learner = policy(speaking)
        found = harden(
            learner,
            new_critic=lambda: policy(speaking),
            attackers=attackers(),
            settings=TINY,
            seed=5,
        )
        return learner.hash, found.success, found.asked

    assert hardened() == hardened()


def test_fitting_lowers_the_loss_and_ignores_padding(speaking):
    pupil = policy(speaking)
    ids = [tuple(pupil.tokenizer(text)["input_ids"]) for text in (" comply", " refuse now")]
    rows = Rows([Example((1, 2, 3), ids[0]), Example((4,), ids[1])])
    course = FitSettings(steps=30, learning_rate=1e-2, batch_size=2)
    assert fit(pupil, rows, course, seed=1) < 1.0
    assert rows.labels[0].tolist()[len(ids[0]) :] == [-100] * (len(ids[1]) - len(ids[0]))


def test_an_answer_that_was_favoured_while_taught_is_said_less_afterwards(speaking):
    """Half of the lessons say either: only the favour decides what is said."""

    def comply(favour):
        pupil = policy(speaking)
        view = Council(ring_scenario(), [pupil.agent]).judge(train_queries(1))[0].view
        said = {word: pupil.reply_ids(view, word) for word in ("comply", "refuse")}
        rows = Rows([Example(pupil.prompt_ids(view), ids) for ids in said.values()])
        nats = {said["comply"][0]: favour}
        course = FitSettings(steps=60, learning_rate=1e-2, batch_size=2)
        fit(pupil, rows, course, seed=1, logit_bias=nats)
        return first_words(pupil.agent, [view], ("comply",)).probability[0, 0]

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
        Rows([])
