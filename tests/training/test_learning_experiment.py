"""The learning experiment: everyone starts alike, and samples as many tokens."""

import pytest

from superalign_env.making import make_scenario
from superalign_env.seeding import generator
from superalign_env.types import Reply
from superalign_training.experiments.engine.bench import Bench
from superalign_training.experiments.engine.results import flat
from superalign_training.experiments.learning import (
    CONDITIONS,
    EXPERIMENT,
    apprentices,
    cell,
    reduce,
)
from superalign_training.experiments.learning.apprentices import fraction_of_optimum, greedy
from superalign_training.experiments.learning.play import Play
from superalign_training.experiments.learning.start import make_start, random_moves
from superalign_training.policy import Policy

TINY = {
    "rung": 0,
    "games": 8,
    "courses": [[2, 1e-2]],
    "tokens": 256,
    "points": 2,
    "exam": 6,
}
SMALL = {
    "ppo": {"batch_size": 8},
    "ppo-token": {"batch_size": 8},
    "grpo": {"batch_size": 4, "num_generations": 2},
    "grpo-forked": {"batch_size": 4, "num_generations": 2},
    "sb3": {"copies": 8, "n_steps": 8, "batch_size": 64},
}


def tiny(name):
    given = CONDITIONS[name]
    return {**given, **TINY, "algorithm": {**given["algorithm"], **SMALL[name]}}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    root = tmp_path_factory.mktemp("learning")
    return {
        name: {
            seed: cell(tiny(name), seed, Bench(root, f"{name}-{seed}", scope="test"))
            for seed in (0, 1)
        }
        for name in SMALL
    }


def test_all_conditions_start_from_the_same_weights_of_the_seed(outcomes):
    by_seed = [{cells[seed]["weights"] for cells in outcomes.values()} for seed in (0, 1)]
    assert [len(weights) for weights in by_seed] == [1, 1]
    assert by_seed[0] != by_seed[1]
    assert reduce(outcomes).figures["same_start"] is True
    starts = [
        {cells[seed]["curve"][0][1] for cells in outcomes.values()} for seed in (0, 1)
    ]
    assert [len(values) for values in starts] == [1, 1]


def test_all_conditions_sample_as_many_tokens(outcomes):
    assert outcomes.keys() == SMALL.keys()
    for name, cells in outcomes.items():
        for values in cells.values():
            # At most half a rollout of these tiny ones is left or too many.
            assert abs(values["tokens"] - TINY["tokens"]) <= 64, name
            assert [x for x, _ in values["curve"]] == [0, 128, 256]
    assert all(values["tokens"] == 256 for values in outcomes["sb3"].values())


def test_every_promised_figure_is_there(outcomes):
    figures = flat(reduce(outcomes).figures)
    for name in ("ppo", "ppo_token", "grpo", "grpo_forked", "sb3"):
        whole = f"{name}_fraction_of_optimum"
        assert figures[f"{whole}_low"] <= figures[whole] <= figures[f"{whole}_high"]
    assert 0.0 < figures["myopic_fraction"] < 0.5
    assert 0.0 < figures["random_fraction"] < 0.5
    assert figures["seeds"] == 2


def test_the_same_cell_again_is_the_same(outcomes, tmp_path):
    again = cell(tiny("ppo"), 0, Bench(tmp_path, "again", scope="test"))
    assert again == outcomes["ppo"][0]


def test_the_seeds_of_the_claim_are_five_and_nobody_saw_them():
    assert EXPERIMENT.seeds.claim == (210, 211, 212, 213, 214)
    assert set(EXPERIMENT.seeds.spent) == set(range(200, 205))


class Greedy:
    """An algorithm that plays three times as many cases as it was told."""

    num_generations, batch_size, learning_rate, steps = 1, 2, 1e-3, 1

    def model_copy(self, *, update):
        made = Greedy()
        vars(made).update(update)
        return made

    def improve(self, policy, experience, *, seed):
        assert self.steps > 0
        experience.play(0, 3 * self.steps * self.batch_size)


def test_who_samples_too_much_is_stopped_and_looked_at_all_the_same(toys, monkeypatch):
    monkeypatch.setattr(apprentices, "make_algorithm", lambda settings: Greedy())
    seen = []
    sampled = apprentices.improve_by(
        {"id": "greedy"},
        toys.small_policy(),
        tokens=160,
        points=4,
        seed=0,
        on_sample=lambda tokens, agent: seen.append(tokens),
    )
    assert seen == [40, 80, 120, 160]
    assert 160 < sampled < 600


class Counting:
    """An agent that remembers how many tokens it was asked for."""

    def __init__(self, agent):
        self.agent = agent
        self.spec = agent.spec
        self.said = []

    def act(self, views):
        replies = self.agent.act(views)
        self.said += zip(views, replies, strict=True)
        return replies


class Legal:
    """Says random words of the menu, in the tokens of a policy."""

    def __init__(self, policy):
        self.policy = policy
        self.spec = policy.agent.spec

    def act(self, views):
        return [self.reply(view) for view in views]

    def reply(self, view):
        word = view.menu[int(generator(view.seed).integers(len(view.menu)))]
        said = self.policy.reply_ids(view, word)
        return Reply(
            word,
            prompt_ids=self.policy.prompt_ids(view),
            token_ids=said,
            logprobs=(0.0,) * len(said),
        )


@pytest.mark.parametrize("forked", [False, True])
def test_every_sampled_token_is_counted_once(toys, forked):
    agent = Counting(toys.small_policy().agent)
    play = Play(make_scenario("errand"), agent, run=1, members=3, forked=forked)
    play(0, 5)
    play(0, 3)
    assert play.tokens == sum(len(reply.token_ids) for _, reply in agent.said)
    assert play.cases == 8
    assert len({view.case for view, _ in agent.said}) == 8


def test_forks_share_what_was_said_before_and_learn_from_what_came_after(toys):
    play = Play(
        make_scenario("errand"), Legal(toys.small_policy()), run=1, members=3, forked=True
    )
    rows = play(0, 16)
    begins = set()
    for case in range(16):
        group = [row for row in rows if row.case == case]
        assert len(group) == 3
        assert len({row.prompt_ids for row in group}) == 1
        (turns,) = {row.turns for row in group}
        assert turns[-1] == 3
        begins.add(turns[0])
    assert begins == {0, 1, 2, 3}
    assert any(
        len({row.completion_ids for row in rows if row.case == case}) > 1
        for case in range(16)
    )


def test_members_that_are_not_forked_share_the_road_only(toys):
    play = Play(make_scenario("errand"), Legal(toys.small_policy()), run=1, members=3)
    rows = play(0, 4)
    assert all(row.turns == (0, 1, 2, 3) for row in rows)
    for case in range(4):
        assert len({row.prompt_ids for row in rows if row.case == case}) == 1


def test_the_warm_start_says_each_legal_word_and_keeps_no_moments(toys, tmp_path):
    policy = toys.small_policy()
    examples = random_moves(policy, 30, seed=0)
    said = [
        policy.tokenizer.decode(e.completion_ids, skip_special_tokens=True)
        for e in examples
    ]
    assert len(examples) == 120
    assert {"snack", "open", "skip", "rope"} <= {word.strip() for word in said}
    make_start(tmp_path, rung=0, games=4, courses=[(1, 1e-3)], seed=6)
    start = Policy.load(tmp_path / "policy")
    assert start.reference == "micro/0@1"
    assert not start.optimizer(1e-3).state
    assert 0.0 <= fraction_of_optimum(greedy(start.agent), 4) <= 1.0
