"""Recomputed log-probs are those of the rollout, whatever counts a model's positions."""

import numpy as np
import pytest
import torch
from transformers import GPTNeoConfig, GPTNeoForCausalLM

from superalign_agents.batching import positions
from superalign_agents.decoding import sample
from superalign_agents.transformer import TransformerAgent
from superalign_env.envs import make_scenario
from superalign_env.errors import InvalidOption
from superalign_env.rollout import Rollouts
from superalign_env.seeding import mix
from superalign_scenarios.microworld import words
from superalign_training.algorithms.dpo import Dpo
from superalign_training.algorithms.fitting import ExampleTensors
from superalign_training.algorithms.group_trainer import GroupTrainer
from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.kto import Kto
from superalign_training.algorithms.logprobs import (
    completion_logprobs,
    compute_old_logprobs,
)
from superalign_training.algorithms.micro_batch import MicroBatch
from superalign_training.algorithms.ppo import Ppo
from superalign_training.algorithms.reinforce import Reinforce
from superalign_training.algorithms.rloo import Rloo
from superalign_training.algorithms.sft import Sft
from superalign_training.algorithms.weak_to_strong import WeakToStrongTraining
from superalign_training.data import (
    Example,
    Live,
    Preference,
    Row,
    UnpairedPreference,
    training_rows,
)
from superalign_training.ladder.micro_model import build_tokenizer
from superalign_training.policy import Lora, Policy, shared_base
from superalign_training.testing.architectures import (
    ARCHITECTURES,
    CONTEXT,
    tiny_architecture,
)

NATS = 1e-4
ALWAYS = (
    "GPT2",
    "OPT",
    "Bloom",
    "GPTNeoX",
    "Llama",
    "Qwen3",
    "Phi3",
    "Mistral",
    "Gemma2",
    "Gemma3",
)
"""Architectures that the quick tests try, too."""


def policy_of(name, **changes):
    """A policy of a few thousand random weights."""
    tokenizer = build_tokenizer(words.VOCABULARY, words.SPECIAL_TOKENS, max_length=CONTEXT)
    return tiny_architecture(name, tokenizer, **changes)


def errands(policy, cases=4, members=2):
    """Rows of several turns after prompts of different lengths."""
    scenario = make_scenario("errand")
    (seat,) = scenario.seats
    episodes = Rollouts(scenario, {seat: policy.agent}, run=3, group=members).run(cases)
    rows = training_rows(episodes, seat)
    assert len({len(row.prompt_ids) for row in rows}) > 2
    assert any(len(row.turns) > 1 for row in rows)
    return rows


def turns(rows):
    """(everything before a turn, its tokens) and what was recorded of all of them."""
    said = [
        (row.prompt_ids + row.completion_ids[:begin], row.completion_ids[begin:end])
        for row in rows
        for begin, end in row.spans
    ]
    sums = [sum(row.logprobs[begin:end]) for row in rows for begin, end in row.spans]
    return said, torch.tensor(sums)


def off(rows, found):
    """The largest difference between log-probs [B, C] and recorded ones, at own tokens."""
    return max(
        abs(now - then)
        for row, logprobs in zip(rows, found.tolist(), strict=True)
        for now, then, own in zip(logprobs, row.logprobs, row.env_mask, strict=False)
        if own
    )


@pytest.fixture(
    params=[
        pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow)
        for name in ARCHITECTURES
    ]
)
def policy(request):
    return policy_of(request.param)


@pytest.fixture
def seen_by_trl(monkeypatch):
    """Differences of what TRL's trainer finds and what was recorded, by row."""
    found = []

    def watch(rows):
        recorded = {row.prompt_ids + row.completion_ids: row for row in rows}

        def compute(self, model, ids, mask, *rest, **options):
            logprobs, *others = inner(self, model, ids, mask, *rest, **options)
            for place, (tokens, real) in enumerate(zip(ids, mask.bool(), strict=True)):
                row = recorded[tuple(tokens[real].tolist())]
                found.append(off([row], logprobs[place : place + 1]))
            return logprobs, *others

        monkeypatch.setattr(GroupTrainer, method, compute)
        return found

    method = "_get_per_token_logps_and_entropies"
    inner = getattr(GroupTrainer, method)
    return watch


def test_ppo_and_reinforce(policy):
    rows = errands(policy)
    for valued in (False, True):
        before = compute_old_logprobs(
            policy, rows, ref=None, values=valued, micro=MicroBatch(3)
        )
        assert off(rows, before.old_logprobs) < NATS
    numbers = Ppo(
        steps=1, batch_size=4, num_generations=2, update_epochs=1, num_minibatches=1
    ).improve(policy, Live(lambda *_: rows), seed=1)
    assert numbers["approx_kl"] < NATS**2, "the pass that is trained on finds the same"
    assert numbers["clip_fraction"] == 0
    rows = errands(policy)
    numbers = Reinforce(steps=1, batch_size=4, num_generations=2).improve(
        policy, Live(lambda *_: rows), seed=1
    )
    assert numbers["kl"] < NATS**2


@pytest.mark.parametrize("algorithm", [Grpo, Rloo])
def test_groups(policy, algorithm, seen_by_trl):
    rows = errands(policy)
    differences = seen_by_trl(rows)
    course = algorithm(steps=1, batch_size=4, num_generations=2, ref_policy="round")
    course.improve(policy, Live(lambda *_: rows), seed=1)
    assert len(differences) > 8, "the policy and what it is held to read all rows"
    assert max(differences) < NATS


def test_lessons(policy):
    said, recorded = turns(errands(policy))
    found = torch.tensor(completion_logprobs(policy.model, said, batch=5))
    assert (found - recorded).abs().max() < NATS
    lessons = ExampleTensors([Example(*one) for one in said])
    nats, _ = lessons.token_losses(policy.model, torch.arange(len(said)))
    assert (nats.sum(1).detach() + recorded).abs().max() < NATS
    pairs = [
        Preference(prompt, words, (*words, 5))
        for prompt, words in said
        if len(prompt) < CONTEXT - 4
    ]
    numbers = Dpo(steps=1, batch_size=8).improve(policy, pairs, seed=1)
    assert abs(numbers["margin"]) < NATS, "the policy is its own former self as yet"
    opinions = [UnpairedPreference(*one, place % 2 == 0) for place, one in enumerate(said)]
    numbers = Kto(steps=1, batch_size=8).improve(policy, opinions, seed=1)
    assert abs(numbers["kl"]) < NATS
    assert numbers["loss"] == pytest.approx(0.5, abs=NATS)


def full(before, case, member, pay):
    """A row of as many tokens as the context has."""
    ids = tuple(20 + (case + member + place) % 40 for place in range(CONTEXT))
    length = CONTEXT - before
    return Row(
        episode=f"c{case}-m{member}",
        case=case,
        member=member,
        seat="learner_0",
        turns=(0,),
        prompt_ids=ids[:before],
        completion_ids=ids[before:],
        env_mask=(1,) * length,
        spans=((0, length),),
        logprobs=(-5.0,) * length,
        turn_rewards=(pay,),
        to_go=pay,
        policy="",
    )


@pytest.mark.parametrize("name", ["GPT2", "OPT", "Llama"])
@pytest.mark.parametrize("cut", [(60,), (60, 4)], ids=["60+4", "60+4 beside 4+60"])
def test_rows_that_fill_the_context(name, cut):
    rows = [
        full(cut[case % len(cut)], case, member, float(member))
        for case in range(4)
        for member in range(2)
    ]
    said = [(row.prompt_ids, row.completion_ids) for row in rows]
    few = {"steps": 1, "batch_size": 4}
    algorithms = {
        **{
            kind(steps=1, batch_size=4, num_generations=2): Live(lambda *_: rows)
            for kind in (Grpo, Rloo)
        },
        Ppo(steps=1, batch_size=4, num_generations=2): Live(lambda *_: rows),
        Reinforce(steps=1, batch_size=4, num_generations=2): Live(lambda *_: rows),
        Sft(**few): [Example(*one) for one in said],
        WeakToStrongTraining(**few): [Example(*one) for one in said],
        Dpo(**few): [Preference(p, w, w[::-1]) for p, w in said],
        Kto(**few): [
            UnpairedPreference(*one, place % 2 == 0) for place, one in enumerate(said)
        ],
    }
    policy = policy_of(name)
    for algorithm, experience in algorithms.items():
        before = policy.hash
        numbers = algorithm.improve(policy, experience, seed=1)
        assert all(np.isfinite(list(numbers.values()))), algorithm.id
        assert policy.hash != before


@pytest.mark.parametrize("name", ["GPT2", pytest.param("Llama", marks=pytest.mark.slow)])
def test_what_a_prompt_asks_for_is_learned(name, toys):
    """Prompts of 2 to 9 tokens ask for an even token or an odd one."""
    policy = policy_of(name, initializer_range=0.05)

    def play(first, count):
        rows = []
        for case in range(first, first + count):
            prompt = (5 + case % 2, *[7] * (case // 2 % 4 * 2 + 1))
            said = sample(
                policy.model,
                [prompt] * 8,
                [mix(0, case, member) for member in range(8)],
                max_new_tokens=[1] * 8,
                stop_ids=[],
            )
            for member, one in enumerate(said):
                pay = float(one.token_ids[0] % 2 == case % 2)
                row = toys.row(case, member, said=[one], pay=[pay])
                rows.append(row._replace(prompt_ids=prompt))
        return rows

    course = Grpo(steps=80, batch_size=8, num_generations=8, learning_rate=1e-2, beta=0.0)
    numbers = course.improve(policy, Live(play), seed=1)
    assert numbers["reward"] > 0.95


def test_attention_from_a_table_as_wide_as_the_context_is_refused_in_training():
    tokenizer = build_tokenizer(words.VOCABULARY, words.SPECIAL_TOKENS, max_length=CONTEXT)
    config = GPTNeoConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        attention_types=[[["global", "local"], 1]],
        max_position_embeddings=CONTEXT,
    )
    agent = TransformerAgent(GPTNeoForCausalLM(config), tokenizer=tokenizer)
    with pytest.raises(InvalidOption, match=r"GPTNeoForCausalLM.*table of 64 positions"):
        Policy(agent)


def test_positions_count_real_tokens_alone():
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 1, 0]])
    assert positions(mask).tolist() == [[0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 1, 1]]
    assert positions(mask.bool()).dtype == torch.long


def rates(model):
    return [
        getattr(module, name)
        for module in model.modules()
        for name in vars(module)
        if name == "p" or "drop" in name
        if isinstance(getattr(module, name), float)
    ]


@pytest.mark.parametrize("name", ["GPT2", "OPT"])
def test_without_dropout_a_model_in_training_finds_what_it_said(name):
    policy = policy_of(name)
    ids, mask = torch.arange(20, 30)[None], torch.ones(1, 10, dtype=torch.long)
    at_rest, before = policy.forward(ids, mask).logits, rates(policy.model)
    with policy.training(dropout=False) as model:
        assert model.training and set(rates(model)) == {0.0}
        assert torch.equal(policy.forward(ids, mask).logits, at_rest)
    assert rates(policy.model) == before
    assert 0.1 in before
    with policy.training():
        assert not torch.equal(policy.forward(ids, mask).logits, at_rest)


def test_an_adapters_dropout_outlives_dpo(scratch):
    policy = Policy.from_reference(
        str(scratch), adapter=Lora(rank=2, dropout=0.25), base=shared_base(str(scratch))
    )
    before = rates(policy.model)
    Dpo(steps=1, batch_size=2).improve(
        policy, [Preference((20,), (30, 1), (31, 1))], seed=1
    )
    assert rates(policy.model) == before
    assert 0.25 in before


@pytest.mark.parametrize("algorithm", [Grpo, Ppo, Reinforce])
def test_activations_are_recomputed_in_every_update(algorithm):
    plain, thrifty = policy_of("Llama"), policy_of("Llama")
    thrifty = Policy(thrifty.agent, recompute=True)
    rows = errands(plain)
    course = algorithm(steps=1, batch_size=4, num_generations=2)
    calls = []
    for module in thrifty.model.modules():
        inner = getattr(module, "_gradient_checkpointing_func", None)
        if inner is not None:
            module._gradient_checkpointing_func = lambda *args, inner=inner, **options: (
                calls.append(1) or inner(*args, **options)
            )
    for policy in (plain, thrifty):
        course.improve(policy, Live(lambda *_: rows), seed=1)
    assert calls
    for one, other in zip(
        plain.model.parameters(), thrifty.model.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other)
