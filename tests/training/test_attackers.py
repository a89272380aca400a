"""Attackers learn what works, stay valid, and say different things if paid for it."""

import pytest

from superalign_agents.decoding import sample
from superalign_env.envs import make_scenario
from superalign_env.errors import InvalidOption
from superalign_env.measures import share
from superalign_training.attackers import (
    AnswerTable,
    Grammar,
    Point,
    PolicyAttacker,
    QueryOutcome,
    SearchAttacker,
    SlotPolicy,
    Trie,
    attack,
    opening_views,
    strongest,
)
from superalign_training.experiments.gap import student
from superalign_training.experiments.gap.human_queries import HumanQuery
from superalign_training.experiments.microworld.fresh_attackers import requests_grammar
from superalign_training.ladder import rung_metrics
from superalign_training.policy import Policy

CASES = 1280
SMALL = Grammar((("a", "b", "c", "d"), ("x", "y", "z")), " ".join)


@pytest.fixture(scope="module")
def views():
    scenario = make_scenario("red-team", split="train", vanilla=0.0, plant=0.0)
    return opening_views(scenario, CASES + 256, run=3)


@pytest.fixture(scope="module")
def texts(views):
    return sorted({text for view in views for text in view.menu})


class Wheel:
    """A field on which only some words are valid, and only some of those succeed."""

    def __init__(self, views, valid, succeeds):
        self._views, self._valid, self._succeeds = views, valid, succeeds

    def views(self, first, count):
        return self._views[first : first + count]

    def ask(self, queries):
        return [
            QueryOutcome(self._valid(q), float(self._valid(q) and self._succeeds(q)))
            for q in queries
        ]


def test_a_search_finds_a_planted_weakness_and_repeats_it(views, texts):
    weak = AnswerTable(views, {text: " baby " in text for text in texts})
    curve = attack(SearchAttacker(), weak, budgets=(128, 1024))
    assert curve[-1].success > 0.9
    assert curve[-1].valid.value > 0.9


def test_a_slot_policy_finds_a_planted_weakness(views):
    field = Wheel(views, lambda q: True, lambda q: " near orphan " in q)
    curve = attack(SlotPolicy(requests_grammar(), ent_coef=0.0), field, budgets=(128, 1280))
    assert curve[0].success < 0.5
    assert curve[-1].success > 0.9


def test_nobody_succeeds_against_a_learner_without_a_weakness(views, texts):
    safe = AnswerTable(views, dict.fromkeys(texts, False))
    for attacker in (
        SearchAttacker(),
        SlotPolicy(requests_grammar(), accepts=set(texts).__contains__),
    ):
        assert attack(attacker, safe, budgets=(256,))[0].success == 0


def test_a_price_keeps_a_slot_policy_valid(views):
    def field():
        return Wheel(views, lambda q: not q.startswith("a"), lambda q: q.endswith("x"))

    def floor(penalty):
        attacker = SlotPolicy(SMALL, ent_coef=0.0, invalid_penalty=penalty)
        return attack(attacker, field(), budgets=(1280,))[0].valid.value

    assert floor(1.0) > 0.95


def test_a_bonus_makes_a_slot_policy_say_more_different_things(views):
    def measured(ent_coef):
        field = Wheel(views, lambda q: True, lambda q: q.endswith("x"))
        attacker = SlotPolicy(
            SMALL, learning_rate=1.0, ent_coef=ent_coef, exploit_temperature=1.0
        )
        return attack(attacker, field, budgets=(1280,), wave=32)[0]

    plain, paid = measured(0.0), measured(0.1)
    assert paid.distinct > plain.distinct
    assert min(paid.success, plain.success) > 0.8


def test_a_language_model_learns_what_succeeds_and_says_nothing_outside_its_trie(
    views, texts, speaking
):
    policy = Policy.from_reference(str(speaking))
    chosen = texts[:: len(texts) // 60]
    trie = Trie(policy.reply_ids(views[0], text) for text in chosen)
    weak = {text: text in chosen[::6] for text in chosen}
    curve = attack(
        PolicyAttacker(policy, trie=trie, learning_rate=1e-2, ent_coef=0.0),
        AnswerTable(views, weak),
        budgets=(64, 1024),
        wave=64,
        measured=64,
    )
    assert all(point.valid.value == 1 for point in curve)
    assert curve[0].success < 0.8
    assert curve[-1].success > 0.9


def test_a_query_ends_at_every_end_that_the_model_declares(views, speaking):
    policy = Policy.from_reference(str(speaking))
    trie = Trie([policy.reply_ids(views[0], "ann will")])
    attacker = PolicyAttacker(policy, trie=trie)
    assert attacker.explore(views[:1]) == ["ann will"]
    (will,) = policy.tokenizer(" will", add_special_tokens=False)["input_ids"]
    policy.model.generation_config.eos_token_id = will
    assert attacker.explore(views[:1]) == ["ann"]


@pytest.mark.parametrize("who", ["student", "rung"])
def test_whoever_samples_stops_at_every_end_that_the_model_declares(
    speaking, monkeypatch, who
):
    policy = Policy.from_reference(str(speaking))
    model, tokenizer = policy.model, policy.tokenizer
    model.generation_config.eos_token_id = [4, 5]
    stops = []

    def spied(*arguments, stop_ids, **how):
        stops.append(set(stop_ids))
        return sample(*arguments, stop_ids=stop_ids, **how)

    monkeypatch.setattr({"student": student, "rung": rung_metrics}[who], "sample", spied)
    if who == "rung":
        rung_metrics.continuations(model, tokenizer, ["ann will"])
    else:
        query = HumanQuery("requests", "ann will", "comply", "comply", False)
        student.Student(model, tokenizer).answers([query])
    assert stops == [{4, 5, tokenizer.eos_token_id}]


def test_attackers_say_the_same_again_from_the_same_views(views, speaking):
    for make in (
        SearchAttacker,
        lambda: SlotPolicy(requests_grammar()),
        lambda: PolicyAttacker(Policy.from_reference(str(speaking))),
    ):
        assert make().explore(views[:8]) == make().explore(views[:8])


def test_what_a_view_is_answered_with_does_not_depend_on_its_company(views, speaking):
    speaker = PolicyAttacker(Policy.from_reference(str(speaking)))
    assert speaker.explore(views[:6])[:3] == speaker.explore(views[:3])


def test_success_counts_valid_queries_only(views):
    half = Wheel(views, lambda q: q.startswith(("a", "b")), lambda q: True)
    (point,) = attack(SlotPolicy(SMALL, learning_rate=1e-9), half, budgets=(128,))
    assert point.success == 1.0
    assert 0.3 < point.valid.value < 0.7


def test_an_attacker_without_a_valid_query_has_no_success(views):
    nothing = Wheel(views, lambda q: False, lambda q: True)
    (point,) = attack(SlotPolicy(SMALL), nothing, budgets=(128,))
    assert (point.success, point.valid.value, point.distinct) == (0, 0, 0)


def test_measured_queries_are_not_learned_from(views):
    learned = []

    class Counting(SlotPolicy):
        def learn(self, views, queries, outcomes):
            learned.append(len(queries))
            super().learn(views, queries, outcomes)

    attack(Counting(SMALL), Wheel(views, len, len), budgets=(100, 300), measured=50)
    assert sum(learned) == 300


def test_the_strongest_attacker_counts_at_every_budget():
    def curve(*success):
        return tuple(
            Point(b, s, share(1, 1), 1.0) for b, s in zip((1, 2), success, strict=True)
        )

    assert strongest([curve(0.1, 0.9), curve(0.4, 0.2)]) == (0.4, 0.9)
    with pytest.raises(InvalidOption, match="same budgets"):
        strongest([])


@pytest.mark.parametrize("budgets", [(), (0,), (5, 3), (4, 4)])
def test_budgets_ascend(views, budgets):
    with pytest.raises(InvalidOption, match="ascending"):
        attack(SlotPolicy(SMALL), Wheel(views, len, len), budgets=budgets)


def test_a_case_that_the_attacker_does_not_open_is_an_error():
    with pytest.raises(InvalidOption, match="vanilla=0"):
        opening_views(make_scenario("red-team", vanilla=1.0), 3, run=0)


def test_a_table_says_how_many_cases_were_opened(views, texts):
    with pytest.raises(InvalidOption, match="open more"):
        AnswerTable(views, dict.fromkeys(texts, False)).views(len(views), 1)


def test_permitted_tokens_are_marked_where_the_model_lives():
    trie = Trie([(1, 2), (1, 3), (4,)])
    first = trie.permitted([Trie.root, trie.step(Trie.root, 1)], 5)
    assert first.tolist() == [
        [False, True, False, False, True],
        [False, False, True, True, False],
    ]
    leaf = trie.step(Trie.root, 4)
    assert not trie.permitted([leaf], 5).any()
    assert trie.permitted([leaf], 5, device="meta").device.type == "meta"
