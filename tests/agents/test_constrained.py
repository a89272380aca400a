"""Sampling options and constrained decoding: forms, truncation, stop texts, notes."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from superalign_agents.references import make_agent
from superalign_agents.sampling import NOT_TRAINED
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import SuperalignError
from superalign_env.types import Ending, Episode, EpisodeKey, Message, Task, Utterance, View
from superalign_env.verdicts import SCHEMA, parse
from superalign_training.data import left_out, training_rows

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKS = CHATML.replace("<|im_start|>assistant\n{", "<|im_start|>assistant\n<think>\n{")
MENU = ("comply", 'refuse, "politely"\nand at length', "nö 😀")


def byte_tokenizer(template):
    """Return a tokenizer of bytes, with the ends and marks of ChatML."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}
    )
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = template
    return tokenizer


def chat_agent(written=CHATML, **options):
    tokenizer = byte_tokenizer(written)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 5,  # padded, as real ones are
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config).eval()
    return TransformerAgent(model, tokenizer=tokenizer, **options)


def view(seed=7, *, max_new_tokens=160, **fields):
    messages = (Message("user", "Judge it."),)
    asked = {"max_new_tokens": max_new_tokens, **fields}
    return View("e", 0, "critic_0", "critic", 0, seed, "Judge it.", messages, **asked)


VERDICT = {"form": "json-schema", "schema": SCHEMA}
MODES = ("never", "auto")
CHOICE = {"form": "choices", "menu": MENU}


@pytest.mark.parametrize("temperature", [0.0, 1.0, 5.0])
def test_a_schema_is_kept_by_a_model_without_any_knowledge_within_the_limit(
    temperature,
):
    views = [view(seed, max_new_tokens=160, **VERDICT) for seed in range(4)]
    replies = chat_agent(temperature=temperature).act(views)
    assert len(replies) == 4
    for reply in replies:
        assert 0 <= parse(reply.text).score <= 1
        assert reply.notes == {"reply.constrained": 1}
        assert len(reply.token_ids) <= 160


@pytest.mark.parametrize("template", [CHATML, THINKS])
def test_choices_are_said_word_for_word(template):
    replies = chat_agent(template).act([view(seed, **CHOICE) for seed in range(12)])
    assert {reply.text for reply in replies} <= set(MENU)
    assert len({reply.text for reply in replies}) > 1
    assert all(reply.finish == "stop" for reply in replies)


def test_a_thought_that_the_template_opens_is_free_and_ends_in_time_for_the_form():
    replies = chat_agent(THINKS).act([view(seed, **VERDICT) for seed in range(4)])
    assert len(replies) == 4
    for reply in replies:
        assert reply.thought
        assert 0 <= parse(reply.text).score <= 1


def test_recorded_log_probs_are_of_the_masked_distribution():
    agent = chat_agent(temperature=0.7)
    (reply,) = agent.act([view(**CHOICE, max_new_tokens=40)])
    text = reply.text
    same_start = [c for c in MENU if c.startswith(text[:1])]
    assert same_start == [text]  # so that every later byte is forced
    assert reply.logprobs[0] < 0
    assert all(value == 0 for value in reply.logprobs[1:-1])  # either end may follow


@pytest.mark.parametrize(
    ("options", "fields", "constrained"),
    [
        ({}, VERDICT, True),
        ({}, {}, False),
        ({"constrained": "never"}, VERDICT, False),
        ({"template": "plain"}, VERDICT, False),
        ({"template": "plain", "constrained": "always"}, CHOICE, True),
    ],
)
def test_when_replies_are_constrained(options, fields, constrained):
    (reply,) = chat_agent(**options).act([view(**fields)])
    assert ("reply.constrained" in reply.notes) == constrained
    assert ("reply.unreadable" in reply.notes) == (bool(fields) and not constrained)


def test_a_json_that_the_limit_cuts_is_counted():
    (reply,) = chat_agent().act([view(max_new_tokens=5, **VERDICT)])
    assert reply.notes == {"reply.constrained": 1, "reply.unreadable": 1}


def test_a_form_that_cannot_be_compiled_is_noted_and_fails_where_it_was_asked_for():
    broken = view(form="json-schema", schema={"type": "object", "properties": {"a": 3}})
    views = [broken, view(**VERDICT)]
    free, good = chat_agent().act(views)
    assert free.notes == {"reply.unconstrained": 1, "reply.unreadable": 1}
    assert good.notes == {"reply.constrained": 1}
    bad, good = chat_agent(constrained="always").act(views)
    assert "set constrained='never'" in bad.error
    assert not good.error


@pytest.mark.parametrize(
    "options", [{"top_p": 0.3}, {"top_k": 3}, {"min_p": 0.9}], ids=lambda o: next(iter(o))
)
def test_truncation_changes_what_is_sampled_and_log_probs_are_of_what_is_left(options):
    (whole,) = chat_agent().act([view()])
    (reply,) = chat_agent(**options).act([view()])
    assert reply.token_ids != whole.token_ids
    assert max(reply.logprobs) > max(whole.logprobs)
    assert reply.notes == {"reply.truncated-sampling": 1}
    agent = chat_agent(**options)
    ids = torch.tensor([[*reply.prompt_ids, *reply.token_ids]])
    with torch.no_grad():
        logits = agent.model(ids).logits
    logits = logits[0, len(reply.prompt_ids) - 1 : -1]
    for place, (token, logprob) in enumerate(
        zip(reply.token_ids, reply.logprobs, strict=True)
    ):
        by_likelihood = logits[place].softmax(-1).sort(descending=True)
        if "top_k" in options:
            kept = 3
        elif "top_p" in options:
            kept = int((by_likelihood.values.cumsum(-1) < 0.3).sum()) + 1
        else:
            kept = int((by_likelihood.values >= 0.9 * by_likelihood.values[0]).sum())
        share = logits[place].softmax(-1)[token] / by_likelihood.values[:kept].sum()
        assert logprob == pytest.approx(float(share.log()), abs=1e-4)


def test_greedy_decoding_is_not_truncated():
    (reply,) = chat_agent(temperature=0.0, top_p=0.5).act([view(max_new_tokens=5)])
    assert reply.notes == {}


def test_a_stop_text_ends_the_reply_and_is_no_part_of_it():
    (whole,) = chat_agent().act([view()])
    stop = next(c for c in whole.text[2:] if c.isascii() and c.isprintable())
    (reply,) = chat_agent(stop=["never said", stop]).act([view()])
    assert reply.text == whole.text[: whole.text.index(stop)].strip(" ") or (
        reply.text == whole.text[: whole.text.index(stop)]
    )
    assert reply.finish == "stop"
    length = len(reply.token_ids)
    assert length < len(whole.token_ids)
    assert reply.token_ids == whole.token_ids[:length]
    assert reply.logprobs == pytest.approx(whole.logprobs[:length], abs=1e-5)
    assert reply.notes == {}


def test_the_agents_cap_and_the_views_limit_both_hold():
    agent = chat_agent(max_new_tokens=6)
    lengths = [
        len(agent.act([view(max_new_tokens=limit)])[0].token_ids) for limit in (3, 50)
    ]
    assert lengths == [3, 6]


def test_options_are_recorded_where_they_differ_and_make_the_agent_again(tmp_path):
    options = {
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "max_new_tokens": 9,
        "stop": ["\n\n"],
        "constrained": "never",
    }
    assert not options.keys() & chat_agent().spec.options.keys()
    agent = chat_agent(**options)
    assert options.items() <= agent.spec.options.items()
    agent.model.save_pretrained(tmp_path)
    agent.tokenizer.save_pretrained(tmp_path)
    again = make_agent({"id": str(tmp_path), **options})
    assert again.act([view()])[0].token_ids == agent.act([view()])[0].token_ids


@pytest.mark.parametrize(
    "options",
    [
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_p": float("nan")},
        {"top_k": -1},
        {"min_p": 1.0},
        {"max_new_tokens": 0},
        {"stop": "text"},
        {"stop": [""]},
        {"constrained": "sometimes"},
        {"engine": object(), "top_p": 0.5},
        {"engine": object(), "constrained": "always"},
    ],
    ids=lambda options: "-".join(map(str, options)),
)
def test_senseless_options_are_refused(options):
    with pytest.raises(
        SuperalignError, match=r"top_p|top_k|min_p|max_new|stop|constrained"
    ):
        chat_agent(**options)


def episode_of(reply):
    return Episode(
        "e0",
        "s-v0",
        Task("t", "requests", "q"),
        EpisodeKey(case=0, member=0),
        {},
        (Utterance("critic_0", 0, 0, reply.text, reply),),
        (),
        Ending.terminated(),
    )


@pytest.mark.parametrize("options", [{}, {"top_p": 0.5}], ids=["whole", "top_p"])
def test_turns_of_another_distribution_are_not_trained_on_and_are_counted(options):
    episode = episode_of(chat_agent(**options).act([view(max_new_tokens=4)])[0])
    rows = training_rows([episode], "critic_0")
    counted = {"reply.truncated-sampling": 1} if options else {}
    assert left_out([episode], ["critic_0"]) == counted
    assert left_out([episode], ["learner_0"]) == {}
    assert len(rows) == (0 if options else 1)
    assert counted.keys() <= NOT_TRAINED


@pytest.mark.slow
def test_a_real_model_that_writes_no_verdict_always_gives_one_when_constrained():
    try:
        options = {"id": "smollm2", "temperature": 1.0}
        agents = {mode: make_agent(options | {"constrained": mode}) for mode in MODES}
    except SuperalignError as error:
        pytest.skip(f"smollm2 is not here: superalign ladder fetch smollm2 ({error})")
    views = [view(seed, max_new_tokens=160, **VERDICT) for seed in range(6)]
    read = {}
    for mode, agent in agents.items():
        replies = agent.act(views)
        read[mode] = sum("reply.unreadable" not in reply.notes for reply in replies)
    assert read == {"never": 0, "auto": 6}
