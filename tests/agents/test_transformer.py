"""A transformer in a seat: batches, seeds, limits, and what it refuses to load."""

import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
)

from superalign_agents.batching import left_padded, positions
from superalign_agents.checkpoints import weights_hash
from superalign_agents.decoding import sample, sample_tokens
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption
from superalign_env.seeding import uniforms
from superalign_env.types import Message, View
from superalign_training.ladder.micro_model import build_tokenizer

SPECIAL = ("<|pad|>", "<|end|>", "<|user|>", "<|learner|>", "<|im_start|>", "<|im_end|>")
WORDS = ("ann", "will", "cut", "knife", "help", ";", "comply", "refuse")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return build_tokenizer(WORDS, SPECIAL)


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """Scratch weights, scaled up so that the distribution is far from uniform."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    scratch = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in scratch.parameters():
            parameter.mul_(6)
    return scratch.train(False)


@pytest.fixture
def agent(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> TransformerAgent:
    return TransformerAgent(model, tokenizer=tokenizer)


def view(number: int, text: str = "", **fields: object) -> View:
    words = WORDS[: 1 + number % 7]
    settings: dict[str, object] = {
        "episode": f"e{number}",
        "case": number,
        "seat": "learner_0",
        "role": "learner",
        "turn": 0,
        "seed": 1000 + number,
        "text": text or f"<|user|> {' '.join(words)}<|end|><|learner|>",
        "max_new_tokens": 6 + number % 9,
    }
    return View(**{**settings, **fields})  # type: ignore[arg-type] # keywords of the test


def test_replies_do_not_depend_on_the_rest_of_the_batch(agent: TransformerAgent) -> None:
    views = [view(number) for number in range(40)]
    together = agent.act(views)
    for one, reply in zip(views, together, strict=True):
        (alone,) = agent.act([one])
        assert alone.token_ids == reply.token_ids
        assert alone.logprobs == pytest.approx(reply.logprobs, abs=1e-3)


def test_replies_do_not_depend_on_order_or_batch_size(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, agent: TransformerAgent
) -> None:
    views = [view(number) for number in range(20)]
    small = TransformerAgent(model, tokenizer=tokenizer, batch=3)
    texts = [reply.text for reply in agent.act(views)]
    assert [reply.text for reply in small.act(views[::-1])][::-1] == texts


def test_the_same_seed_says_the_same_and_another_seed_does_not(
    agent: TransformerAgent,
) -> None:
    views = [view(number) for number in range(20)]
    others = [view(number, seed=5000 + number) for number in range(20)]
    assert agent.act(views) == agent.act(views)
    assert agent.act(views) != agent.act(others)


def test_reply_tokens_decode_to_the_text(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    agent = TransformerAgent(model, tokenizer=tokenizer, temperature=4.0)
    replies = agent.act([view(number) for number in range(40)])
    assert {reply.finish for reply in replies} == {"stop", "length"}
    for reply in replies:
        decoded = agent.tokenizer.decode(list(reply.token_ids), skip_special_tokens=True)
        assert decoded.removeprefix(" ") == reply.text
        assert len(reply.token_ids) == len(reply.logprobs) > 0
        assert (reply.finish == "stop") == (reply.token_ids[-1] == 1)
        assert 1 not in reply.token_ids[:-1]


def test_every_row_keeps_its_own_limit(agent: TransformerAgent) -> None:
    views = [view(number, max_new_tokens=1 + number % 5) for number in range(30)]
    replies = agent.act(views)
    assert "length" in {reply.finish for reply in replies}
    for one, reply in zip(views, replies, strict=True):
        assert len(reply.token_ids) <= one.max_new_tokens
        if reply.finish == "length":
            assert len(reply.token_ids) == one.max_new_tokens


def test_logprobs_are_those_of_the_model(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    agent = TransformerAgent(model, tokenizer=tokenizer, temperature=0.7)
    replies = agent.act([view(number) for number in range(5)])
    assert len(replies) == 5
    for reply in replies:
        ids = torch.tensor([reply.prompt_ids + reply.token_ids])
        with torch.inference_mode():
            logits = model(ids).logits[0, len(reply.prompt_ids) - 1 : -1] / 0.7
        expected = logits.log_softmax(-1)[range(len(reply.token_ids)), reply.token_ids]
        assert reply.logprobs == pytest.approx(expected.tolist(), abs=1e-3)


def test_sampling_follows_the_distribution() -> None:
    logits = torch.log(torch.tensor([[0.1, 0.0, 0.6, 0.3]])).expand(4000, 4)
    draws = torch.from_numpy(uniforms(range(4000), 1)[:, 0])
    chosen, logprobs = sample_tokens(logits, draws, 1.0)
    shares = np.bincount(chosen.numpy(), minlength=4) / 4000
    assert shares == pytest.approx([0.1, 0.0, 0.6, 0.3], abs=0.03)
    assert logprobs[chosen == 2][0].exp() == pytest.approx(0.6)


def test_greedy_takes_the_likeliest_token(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    agent = TransformerAgent(model, tokenizer=tokenizer, temperature=0)
    first, second = agent.act([view(3, seed=1), view(3, seed=2)])
    assert first.token_ids == second.token_ids


@pytest.mark.parametrize("draw", [0.0, 0.5, 1 - 2.0**-23])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_a_forbidden_token_is_never_sampled(draw: float, scale: float) -> None:
    torch.manual_seed(1)
    logits = scale * torch.randn(64, 5000)
    logits[:, ::2] = float("-inf")
    logits[:, -3:] = float("-inf")
    chosen, logprobs = sample_tokens(logits, torch.full((64,), draw), 1.0)
    assert torch.isfinite(logits.gather(1, chosen[:, None])).all()
    assert torch.isfinite(logprobs).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sampling_computes_in_float32_whatever_the_logits_are(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    logits = torch.randn(8, 40).to(dtype)
    draws = torch.from_numpy(uniforms(range(8), 1)[:, 0])
    for temperature in (0.0, 0.7, 1.0):
        chosen, logprobs = sample_tokens(logits, draws, temperature)
        exact = (logits.double() / (temperature or 1.0)).log_softmax(-1)
        assert logprobs.dtype == torch.float32
        found = exact.gather(1, chosen[:, None])[:, 0]
        assert logprobs.double() == pytest.approx(found, abs=1e-5)


def test_padding_on_the_left_does_not_count_as_a_position() -> None:
    ids, mask = left_padded([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert positions(mask).tolist() == [[0, 1, 2], [0, 0, 0]]


def test_rows_that_have_ended_neither_change_others_nor_say_more(
    model: LlamaForCausalLM,
) -> None:
    limits = [1, 2, 30, 3, 30, 30, 30, 5]  # few end at once: the batch is not made smaller
    prompts = [[2, 3 + row] for row in range(8)]
    together = sample(model, prompts, range(8), max_new_tokens=limits, stop_ids={1})
    for row, said in enumerate(together):
        (alone,) = sample(
            model, [prompts[row]], [row], max_new_tokens=[limits[row]], stop_ids={1}
        )
        assert said.token_ids == alone.token_ids
        assert said.finish == alone.finish
        assert 1 not in said.token_ids[:-1]


def test_a_constraint_sees_the_tokens_so_far_and_log_probs_are_of_what_it_leaves(
    model: LlamaForCausalLM,
) -> None:
    seen: list[tuple[list[int], list[list[int]]]] = []

    def at_most_two(
        rows: torch.Tensor, tokens: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        """Permit two tokens, which depend on the row, and the end after three of them."""
        seen.append((rows.tolist(), tokens.tolist()))
        mask = torch.full_like(logits, float("-inf"))
        for place, row in enumerate(rows.tolist()):
            for token in [1] if tokens.shape[1] == 3 + row % 2 else [4 + row, 5 + row]:
                mask[place, token] = 0.0
        return logits + mask

    said = sample(
        model,
        [[2, 3], [2], [2, 3, 4]],
        [7, 8, 9],
        max_new_tokens=[6, 6, 6],
        stop_ids={1},
        constrain=at_most_two,
    )
    for row, one in enumerate(said):
        assert set(one.token_ids[:-1]) <= {4 + row, 5 + row}
        assert len(one.token_ids) == 4 + row % 2 and one.token_ids[-1] == 1
        assert one.logprobs[-1] == 0.0  # nothing else was permitted
        assert all(-10 < logprob < 0 for logprob in one.logprobs[:-1])
    assert all(len(row) == step for step, (_, rows) in enumerate(seen) for row in rows)
    at_last = dict(zip(*seen[3], strict=True))
    assert all(at_last[row] == list(said[row].token_ids[:3]) for row in at_last)


def test_a_row_that_fills_the_context_may_end_among_rows_that_go_on() -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 32, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 24}
    absolute = GPT2LMHeadModel(GPT2Config(**sizes)).train(False)
    prompts = [[3] * 22, *([2, 3 + row] for row in range(7))]
    limits = [2, *[22] * 7]
    said = sample(absolute, prompts, range(8), max_new_tokens=limits, stop_ids=())
    assert [len(one.token_ids) for one in said] == limits


def test_a_long_prompt_loses_its_oldest_tokens(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    agent = TransformerAgent(model, tokenizer=tokenizer, max_context=20)
    long = view(0, text="<|user|>" + " ann will cut" * 30 + "<|learner|>", max_new_tokens=8)
    (reply,) = agent.act([long])
    assert len(reply.prompt_ids) == 12
    assert reply.prompt_ids[-1] == tokenizer.convert_tokens_to_ids("<|learner|>")
    assert agent.spec.options["max_context"] == 20


def test_no_room_to_speak_is_a_recorded_failure_of_that_seat_only(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    agent = TransformerAgent(model, tokenizer=tokenizer, max_context=20)
    broken, fine = agent.act([view(0, max_new_tokens=20), view(1)])
    assert "20 tokens leaves no room" in broken.error and "empty" not in broken.error
    assert not fine.error
    assert fine.token_ids


def test_policy_hash_follows_the_weights_after_refresh(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    copy = LlamaForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    agent = TransformerAgent(copy, tokenizer=tokenizer)
    before = agent.policy
    assert before == weights_hash(model)
    with torch.no_grad():
        copy.model.norm.weight.mul_(2)
    assert agent.policy == before
    agent.refresh()
    assert agent.policy != before
    assert agent.spec.policy == agent.policy


def test_acting_leaves_the_training_mode_as_it_was(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    copy = LlamaForCausalLM(model.config).train(True)
    TransformerAgent(copy, tokenizer=tokenizer).act([view(0)])
    assert copy.training


def test_a_chat_model_reads_messages_through_its_template(
    model: LlamaForCausalLM,
) -> None:
    english = build_tokenizer(WORDS, SPECIAL, end="<|im_end|>")
    english.chat_template = CHATML
    agent = TransformerAgent(model, tokenizer=english)
    messages = (Message("system", "You judge."), Message("user", "Is it good?"))
    (reply,) = agent.act([view(0, messages=messages)])
    assert english.decode(list(reply.prompt_ids)) == (
        "<|im_start|>system\nYou judge.<|im_end|>\n"
        "<|im_start|>user\nIs it good?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert reply.text == english.decode(list(reply.token_ids), skip_special_tokens=True)


def test_micro_messages_and_micro_text_are_the_same_prompt(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    text = "<|user|> ann will cut<|end|><|learner|> comply<|end|><|user|> ann<|end|><|learner|>"
    messages = (
        Message("user", "<|user|> ann will cut<|end|><|learner|>"),
        Message("assistant", "comply"),
        Message("user", "<|user|> ann<|end|><|learner|>"),
    )
    one = view(0, text=text, messages=messages)
    plain = TransformerAgent(model, tokenizer=tokenizer).prompt_ids(one)
    assert (
        TransformerAgent(model, tokenizer=tokenizer, template="chat").prompt_ids(one)
        == plain
    )


def test_a_chat_template_is_required_when_asked_for(model: LlamaForCausalLM) -> None:
    bare = build_tokenizer(WORDS, SPECIAL)
    bare.chat_template = None
    with pytest.raises(InvalidOption, match="chat template"):
        TransformerAgent(model, tokenizer=bare, template="chat")


def test_a_loaded_model_needs_its_tokenizer(model: LlamaForCausalLM) -> None:
    with pytest.raises(InvalidOption, match="tokenizer"):
        TransformerAgent(model)


@pytest.mark.parametrize(
    ("prompts", "limits", "seeds", "message"),
    [
        ([[]], [2], [1], "no tokens"),
        ([[3]], [0], [1], "at least 1"),
        ([[3]], [4], [1, 2], "2 seeds for 1 prompts"),
        ([[3]], [4], None, "needs a seed"),
    ],
)
def test_sample_explains_what_is_wrong(
    model: LlamaForCausalLM,
    prompts: list[list[int]],
    limits: list[int],
    seeds: list[int] | None,
    message: str,
) -> None:
    with pytest.raises(InvalidOption, match=message):
        sample(model, prompts, seeds, max_new_tokens=limits, stop_ids={1})
