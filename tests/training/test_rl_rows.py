"""Rows as learning sees them: cut by a chat template, forked, resumed, exactly TRL's."""

import pytest
import torch

from superalign_agents.references import make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env.envs import make_scenario
from superalign_env.rollout import Rollouts
from superalign_env.seating import as_agent
from superalign_training.algorithms import ppo_update
from superalign_training.algorithms.advantages import trajectories
from superalign_training.algorithms.cases import by_place
from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.logprobs import ref_model
from superalign_training.algorithms.ppo import Ppo
from superalign_training.algorithms.reinforce import Reinforce
from superalign_training.algorithms.rloo import Rloo
from superalign_training.data import Live, training_rows
from superalign_training.policy import Lora, Policy
from superalign_training.policy.schedule import Schedule

FORGETFUL = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "<|learner|> {{ m.content.split(' ')[-1] }}<|end|>"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
)
"""Of what was said earlier only the last word stays: the rest was thought."""

ALGORITHMS = {
    "grpo": Grpo(steps=2, batch_size=4, num_generations=2),
    "rloo": Rloo(steps=2, batch_size=4, num_generations=2),
    "reinforce": Reinforce(steps=2, batch_size=8),
    "ppo by turns": Ppo(steps=2, batch_size=8, gae_level="turn"),
    "ppo by tokens": Ppo(steps=2, batch_size=8, gae_level="token"),
}


def lenient(text):
    return "score 9 sure 9" if "<|learner|> comply" in text else "score 0 sure 9"


def plays(policy, *, seat="learner_0", group=1, fork=None, **options):
    scenario = make_scenario("red-team", vanilla=1.0, **options)
    agents = {
        "attacker_0": make_agent("search"),
        "learner_0": policy.agent,
        "critic_0": as_agent(lenient),
    }

    def play(first, count):
        return Rollouts(
            scenario, agents, run=3, first_case=first, group=group, fork_at=fork
        ).run(count)

    return play


@pytest.fixture
def forgetful(toys):
    """A policy that babbles, whose template drops what it thought before."""
    policy = toys.small_policy()
    policy.tokenizer.chat_template = FORGETFUL
    return Policy(
        TransformerAgent(policy.model, tokenizer=policy.tokenizer, template="chat")
    )


def test_a_template_that_drops_earlier_thoughts_cuts_an_episode_into_rows(forgetful):
    episodes = plays(forgetful, refine=2)(0, 6)
    rows = training_rows(episodes, "learner_0")
    by_episode = {e.id: [r for r in rows if r.episode == e.id] for e in episodes}
    assert [len(rows) for rows in by_episode.values()] == [3] * 6
    for episode in episodes:
        said = [u for u in episode.utterances if u.seat == "learner_0"]
        for row, utterance in zip(by_episode[episode.id], said, strict=True):
            assert row.prompt_ids == utterance.reply.prompt_ids, "what was really read"
            assert row.completion_ids == utterance.reply.token_ids, "what was really said"
            assert row.logprobs == utterance.reply.logprobs
            assert all(row.env_mask)
            assert row.turns == (utterance.turn,)
        pay = [row.turn_rewards[0] for row in by_episode[episode.id]]
        to_go = [row.to_go for row in by_episode[episode.id]]
        assert to_go == pytest.approx([sum(pay[i:]) for i in range(3)])
    for trajectory in trajectories(rows, "turn"):
        (episode,) = {rows[action.row].episode for action in trajectory}
        assert [rows[d.row] for d in trajectory] == by_episode[episode], (
            "one episode, in order"
        )


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_takes_episodes_cut_into_rows(forgetful, name):
    algorithm = ALGORITHMS[name]
    play = plays(forgetful, refine=1, group=algorithm.num_generations)
    before = forgetful.hash

    def varied(first, count):
        rows = training_rows(play(first, count), "learner_0")
        assert len({row.episode for row in rows}) < len(rows)
        return [row._replace(to_go=row.to_go + len(row.completion_ids) % 3) for row in rows]

    numbers = algorithm.improve(forgetful, Live(varied), seed=1)
    assert forgetful.hash != before
    assert all(value == value for value in numbers.values())


def test_values_bootstrap_from_row_to_row_as_from_turn_to_turn(toys):
    """A cut episode is valued by the same arithmetic: what changes is what is read."""
    policy = toys.small_policy()
    with torch.no_grad():
        policy.value_head.linear.bias.fill_(0.25)  # every state is worth a quarter
    rows = toys.Delayed(policy, split=True)(0, 8)
    advantages = {}

    def remember(settings, rows, before, *, cap):
        rollout = make(settings, rows, before, cap=cap)
        for place, row in enumerate(rows):
            advantages[row.case, row.turns[0]] = rollout.advantages[place, 0].item()
        return rollout

    make = ppo_update._rollout
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ppo_update, "_rollout", remember)
        Ppo(steps=1, gamma=0.9, gae_lambda=0.8, normalize_advantage=False).improve(
            policy, Live(lambda *_: rows), seed=1
        )
    assert {row.turns for row in rows} >= {(0,), (1,)}
    for row in rows:
        if row.turns == (1,):
            last = row.to_go - 0.25
            assert advantages[row.case, 1] == pytest.approx(last, abs=1e-6)
            first = 0.9 * 0.25 - 0.25 + 0.9 * 0.8 * last
            assert advantages[row.case, 0] == pytest.approx(first, abs=1e-6)


# --- groups


def test_members_of_a_case_share_a_query_and_forked_ones_all_up_to_the_first_view(speaking):
    policy = Policy.from_reference(str(speaking))
    plain = training_rows(plays(policy, group=4)(0, 6), "learner_0")
    forked = training_rows(plays(policy, group=4, fork="learner_0")(0, 6), "learner_0")
    for rows in (plain, forked):
        cases = {case: [row for row in rows if row.case == case] for case in range(6)}
        assert all(len({row.prompt_ids for row in group}) == 1 for group in cases.values())
        replies = [{row.completion_ids for row in group} for group in cases.values()]
        assert any(len(said) > 1 for said in replies), "members go their own ways"


def test_forked_members_meet_one_attack_and_unforked_ones_may_not(speaking):
    policy = Policy.from_reference(str(speaking))
    agents = {
        "attacker_0": policy.agent,
        "learner_0": policy.agent,
        "critic_0": as_agent(lenient),
    }
    scenario = make_scenario("red-team", vanilla=0.0)

    def attacks(fork):
        episodes = Rollouts(scenario, agents, run=3, group=4, fork_at=fork).run(8)
        return [
            {e.utterances[0].text for e in episodes if e.key.case == case}
            for case in range(8)
        ]

    assert all(len(texts) == 1 for texts in attacks("learner_0"))
    assert any(len(texts) > 1 for texts in attacks(None))


@pytest.mark.parametrize("fork", [None, "learner_0"])
def test_groups_of_both_kinds_teach(speaking, fork):
    policy = Policy.from_reference(str(speaking))
    play = plays(policy, group=4, fork=fork)
    numbers = Grpo(
        steps=12,
        batch_size=6,
        num_generations=4,
        fork=fork is not None,
        learning_rate=5e-3,
        beta=0.0,
    ).improve(policy, Live(lambda *where: training_rows(play(*where), "learner_0")), seed=1)
    assert numbers["reward"] > numbers["reward_first"] + 0.3


def test_a_turn_is_not_credited_with_what_came_before_it(toys):
    class Said:
        token_ids, logprobs = (1,), (-1.0,)

    group = [
        toys.row(0, member, said=[Said, Said], pay=pay)
        for member, pay in enumerate([[5.0, 0.0], [0.0, 1.0]])
    ]
    (first, second) = by_place(group, lambda pay: [p - sum(pay) / len(pay) for p in pay])
    assert first == [2.0, -0.5]
    assert second == [-2.0, 0.5]


# --- exactness


@pytest.mark.parametrize("name", ["grpo", "reinforce", "ppo by turns"])
def test_a_schedule_goes_on_over_calls(toys, name):
    """With a rate that falls to 0 within the first call, a second one moves nothing."""
    policy = toys.small_policy()
    algorithm = ALGORITHMS[name].model_copy(
        update={"lr_schedule": Schedule(kind="linear", steps=2), "beta": 0.0}
    )
    play = toys.Bandit(policy, members=algorithm.num_generations)
    start = policy.hash
    algorithm.improve(policy, Live(play), seed=1)
    arrived = policy.hash
    algorithm.improve(policy, Live(play), seed=1)
    assert start != arrived == policy.hash


def test_grpo_is_what_plain_trl_makes_of_the_same_ids_and_pay(toys, monkeypatch):
    from datasets import Dataset  # noqa: PLC0415 - slow, and only here
    from trl import GRPOConfig, GRPOTrainer  # noqa: PLC0415

    from superalign_training.algorithms.trl import run, shared_arguments  # noqa: PLC0415

    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")  # about rollout_func, below
    ours, theirs = toys.small_policy(), toys.small_policy()
    rows = toys.Bandit(ours, members=4)(0, 8)
    Grpo(steps=1, batch_size=8, num_generations=4, beta=0.0).improve(
        ours, Live(lambda *_: rows), seed=1
    )

    def roll_out(prompts, trainer):
        return {
            "prompt_ids": [list(row.prompt_ids) for row in rows],
            "completion_ids": [list(row.completion_ids) for row in rows],
            "env_mask": [list(row.env_mask) for row in rows],
            "logprobs": None,
            "pay": [row.to_go for row in rows],
        }

    with theirs.training():
        optimizer, schedule = theirs.optimizers(1e-3)
        run(
            GRPOTrainer(
                model=theirs.model,
                reward_funcs=lambda prompts, completions, pay, **_: list(pay),
                rollout_func=roll_out,
                processing_class=theirs.tokenizer,
                train_dataset=Dataset.from_list([{"prompt": "-"}] * 8),
                args=GRPOConfig(
                    **shared_arguments(steps=1, learning_rate=1e-3, seed=1, device="cpu"),
                    per_device_train_batch_size=32,
                    num_generations=4,
                    temperature=1.0,
                    shuffle_dataset=False,
                ),
                optimizers=(optimizer, schedule),
            )
        )
    mine, plain = ours.snapshot(), theirs.snapshot()
    assert len(plain) > 5
    for weight in plain:
        # Ours has positions; a rotation by others rounds otherwise, and Adam's first step
        # makes much of the smallest gradients. A step is 1e-3.
        torch.testing.assert_close(mine[weight], plain[weight], atol=1e-4, rtol=1e-3)
        close = torch.isclose(mine[weight], plain[weight], atol=1e-5, rtol=1e-4)
        assert close.float().mean() > 0.99


def test_an_anchor_shares_what_is_not_trained(speaking):
    policy = Policy.from_reference(str(speaking), adapter=Lora(rank=2))
    twin = dict(ref_model(policy, "round").named_parameters())
    assert {weight.requires_grad for weight in policy.model.parameters()} == {True, False}
    for name, weight in policy.model.named_parameters():
        assert (twin[name] is weight) != weight.requires_grad
