"""Token by token: the same words and pay as by the utterance, the same network as the LM."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_checker import check_env as check_for_sb3
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from superalign_agents.checkpoints import weights_hash
from superalign_agents.scripted import RandomMenu
from superalign_agents.transformer import TransformerAgent
from superalign_env.envs import make_scenario
from superalign_env.errors import InvalidOption, ProtocolError
from superalign_env.one_seat import OneSeatEnv
from superalign_env.types import Brief, Ending, Reward, Step
from superalign_scenarios.echo import Echo, EchoState
from superalign_training.algorithms.sb3.baseline_training import (
    CausalPolicy,
    train_baseline,
)
from superalign_training.ladder.micro_model import build_tokenizer
from superalign_training.token_env import NOTHING, TokenEnv, token_env

SPECIAL = ("<|pad|>", "<|end|>", "<|user|>", "<|learner|>")
WORDS = ("ann", "will", "cut", "comply", "refuse")


class Spell(Echo):
    """One seat says two tokens at most, twice, and is paid for each small letter."""

    seats = ("speaker_0",)
    limit = 2

    def view(self, state, seat):
        return Brief(
            f"<|user|> {state.last[0]}<|end|><|learner|>", max_new_tokens=self.limit
        )

    def apply(self, state, utterances):
        said = utterances[0].text
        pay = sum(letter.isascii() and letter.islower() for letter in said[:2]) / 2
        cycle = state.cycle + 1
        ending = Ending.terminated() if cycle >= self.max_cycles else None
        rewards = (Reward("speaker_0", "echo", pay),)
        return Step(EchoState(state.task, cycle, (said, said)), rewards, ending=ending)


def make_agent(*, seed=0, **changes):
    tokenizer = build_tokenizer(WORDS, SPECIAL)
    torch.manual_seed(seed)
    config = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
        **changes,
    }
    model = LlamaForCausalLM(LlamaConfig(**config)).train(False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    return TransformerAgent(model, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def agent():
    return make_agent()


def spell(agent, **options):
    return token_env(Spell(max_cycles=2), "speaker_0", agent=agent, **options)


def exam(agent, **options):
    return token_env(make_scenario("exam", truth=True), "learner_0", agent=agent, **options)


def test_both_checkers_accept_it(agent):
    for env in (spell(agent), exam(agent)):
        check_env(env, skip_render_check=True)
        check_for_sb3(env)
    assert env.action_space == gymnasium.spaces.Discrete(len(agent.tokenizer))
    assert env.observation_space.shape == (64,)


def test_tokens_say_what_the_agent_would_have_said_at_once():
    """Ids that a transformer sampled, fed one by one: same text, same pay, same views."""
    agent = make_agent(max_position_embeddings=256)
    scenario = make_scenario("red-team", vanilla=0.0)
    others = {seat: RandomMenu() for seat in scenario.seats if seat != "attacker_0"}
    whole = OneSeatEnv(scenario, seat="attacker_0", others=others, on_invalid="penalise")
    tokens = TokenEnv(
        OneSeatEnv(scenario, seat="attacker_0", others=others, on_invalid="penalise"), agent
    )
    for case in range(6):
        _, info = whole.reset(options={"case": case})
        seen, _ = tokens.reset(options={"case": case})
        assert seen[seen >= 0].tolist() == agent.prompt_ids(info["view"])[-256:]
        (reply,) = agent.act([info["view"]])
        _, wanted, *_ = whole.step(reply.text)
        steps = [tokens.step(np.int64(token)) for token in reply.token_ids]
        assert [step[1] for step in steps[:-1]] == [0.0] * (len(steps) - 1)
        assert not any(step[2] or step[3] for step in steps[:-1])
        assert steps[-1][1] == wanted and steps[-1][2]
        said = [env.game.utterances[0].text for env in (whole, tokens.seat_env)]
        assert said[0] == said[1]


def test_an_utterance_ends_with_a_stop_token_or_at_its_limit(agent):
    env = spell(agent)
    letter = agent.tokenizer.convert_tokens_to_ids("a")
    seen, _ = env.reset(seed=0)
    assert env.step(np.int64(letter))[1:3] == (0.0, False)
    assert env.step(np.int64(letter))[1:3] == (1.0, False)  # two tokens are the limit
    assert env.step(np.int64(letter))[1:3] == (0.0, False)
    seen, pay, over, cut, info = env.step(np.int64(agent.tokenizer.eos_token_id))
    assert (pay, over, cut, info["asked"]) == (0.5, True, False, 0)
    assert (seen == NOTHING).all()
    assert [u.text for u in env.seat_env.game.utterances] == ["aa", "a"]


def test_what_was_said_of_the_turn_is_seen_and_the_oldest_falls_out(agent):
    env = spell(agent, context=6)
    prompt = agent.tokenizer("<|user|> river<|end|><|learner|>")["input_ids"]
    env.reset(seed=0)
    seen, *_ = env.step(np.int64(9))
    assert seen[-2] == prompt[-1] and seen[-1] == 9
    assert len(seen) == 6 and (seen >= 0).all()


def rows(env, n=5):
    """Observations of different lengths."""
    rng = np.random.default_rng(0)
    seen, _ = env.reset(seed=0)
    found = [seen]
    while len(found) < n:
        seen, _, terminated, _, _ = env.step(rng.integers(4, len(WORDS) + 200))
        if terminated:
            seen, _ = env.reset()
        found.append(seen)
    return np.stack(found)


def build(agent, env=None, kind=PPO, **options):
    env = env or spell(agent)
    return kind(
        CausalPolicy,
        env,
        policy_kwargs={"model": agent.model},
        device="cpu",
        seed=0,
        **options,
    )


def logits_of(policy, observations):
    with torch.no_grad():
        return policy.get_distribution(torch.as_tensor(observations)).distribution.logits


def with_absolute_positions():
    """A GPT-2, which notices when padding is counted or seen; rotary models may not."""
    tokenizer = build_tokenizer(WORDS, SPECIAL)
    torch.manual_seed(0)
    shape = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    ends = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **shape, **ends))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(8 if "wte" in name or "wpe" in name else 4)
    return TransformerAgent(model.train(False), tokenizer=tokenizer)


@pytest.mark.parametrize("make", [make_agent, with_absolute_positions])
def test_the_policy_starts_as_the_language_model(make):
    """In one batch of different lengths, against the bare model row by row."""
    agent = make()
    observations = rows(spell(agent))
    lengths = {int((row >= 0).sum()) for row in observations}
    assert len(lengths) > 1
    found = logits_of(build(agent).policy, observations)
    for row, ours in zip(observations, found, strict=True):
        ids = torch.as_tensor(row[row >= 0])[None]
        with torch.no_grad():
            wanted = torch.log_softmax(agent.model(input_ids=ids).logits[0, -1], dim=-1)
        assert torch.allclose(ours, wanted, atol=1e-4)
        assert wanted.max() - wanted.min() > 1  # far from uniform


def test_no_weight_is_trained_twice_and_none_is_left_out(agent):
    policy = build(agent).policy
    trained = [p for group in policy.optimizer.param_groups for p in group["params"]]
    assert len({id(p) for p in trained}) == len(trained)
    ids = {id(p) for p in trained}
    assert {id(p) for p in policy.language_model.parameters()} < ids
    assert ids == {id(p) for p in policy.parameters()}
    assert policy.action_net is policy.language_model.get_output_embeddings()
    with torch.no_grad():
        assert policy.predict_values(torch.as_tensor(rows(spell(agent)))).eq(0).all()


def test_an_observation_without_tokens_has_finite_values(agent):
    policy = build(agent).policy
    policy.value_net.weight.data.fill_(1.0)
    nothing = torch.full((2, 64), NOTHING)
    assert torch.isfinite(policy.predict_values(nothing)).all()


def test_dropout_stays_off_in_training():
    policy = build(make_agent(attention_dropout=0.5)).policy
    policy.set_training_mode(True)
    observations = torch.as_tensor(rows(spell(make_agent())))
    assert torch.equal(logits_of(policy, observations), logits_of(policy, observations))


LEARNING = {
    "n_steps": 64,
    "batch_size": 64,
    "n_epochs": 4,
    "learning_rate": 1e-2,
    "gamma": 1.0,
}


def test_ppo_learns_to_spell_and_hands_the_language_model_back(agent):
    before = weights_hash(agent.model)
    trained = train_baseline(
        lambda: spell(agent, context=16),
        "ppo",
        policy=CausalPolicy,
        steps=2048,
        seed=0,
        options={**LEARNING, "policy_kwargs": {"model": agent.model}},
    )
    first = sum(trained.returns[:60]) / 60
    assert first < 0.6 and trained.last() > 1.5, (first, trained.last())
    assert weights_hash(agent.model) == before

    policy = trained.model.policy
    speaker = TransformerAgent(
        policy.language_model, tokenizer=agent.tokenizer, temperature=0
    )
    env = spell(speaker, context=16)
    seen, _ = env.reset(seed=5)
    (reply,) = speaker.act([env.seat_env.game.view("speaker_0")])
    assert reply.token_ids
    for token in reply.token_ids:
        action, _ = trained.model.predict(seen, deterministic=True)
        assert int(action) == token
        seen, *_ = env.step(action)


def test_a2c_takes_the_same_policy(agent):
    model = build(agent, kind=A2C, env=spell(agent, context=16)).learn(20)
    assert weights_hash(model.policy.language_model) != weights_hash(agent.model)


def test_a_model_that_bends_its_logits_is_refused(agent):
    config = {**agent.model.config.to_dict(), "final_logit_softcapping": 0.1}
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads")
    kept = {name: config[name] for name in (*names, "final_logit_softcapping")}
    torch.manual_seed(0)
    capped = Gemma2ForCausalLM(
        Gemma2Config(**kept, num_hidden_layers=1, num_key_value_heads=2, head_dim=8)
    )
    with pytest.raises(InvalidOption, match="soft caps"):
        PPO(CausalPolicy, spell(agent), policy_kwargs={"model": capped}, device="cpu")


def test_a_view_without_room_is_told_so(agent):
    class Long(Spell):
        limit = 64

    env = token_env(Long(), "speaker_0", agent=agent)
    with pytest.raises(ProtocolError, match="64 new tokens do not fit into 64"):
        env.reset(seed=0)


def test_a_context_of_one_token_is_refused(agent):
    with pytest.raises(InvalidOption, match="at least 2 tokens"):
        spell(agent, context=1)
