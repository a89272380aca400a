"""The micro tokenizer: words are single tokens, everything else survives as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from superalign_training.ladder.micro_model import build_tokenizer, byte_symbols

WORDS = ("ann", "will", "cut", "over-refusal", "->", ";", ",", "3", "knife", "comply")
SPECIAL = ("<|pad|>", "<|end|>", "<|user|>", "<|learner|>")
TOKENIZER = build_tokenizer(WORDS, SPECIAL)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_unicode_text_survives_exactly(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


@given(
    st.lists(st.sampled_from([*WORDS, *SPECIAL, " ", "  ", "\n", "é", "‹|"]), max_size=20)
)
def test_mixtures_of_words_markers_and_space_survive_exactly(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


@pytest.mark.parametrize("word", WORDS)
def test_a_world_word_after_a_space_is_one_token(word: str) -> None:
    assert len(TOKENIZER(f" {word}")["input_ids"]) == 1


@pytest.mark.parametrize("marker", SPECIAL)
def test_a_marker_is_one_token(marker: str) -> None:
    assert len(TOKENIZER(marker)["input_ids"]) == 1


def test_unknown_words_fall_to_bytes() -> None:
    assert len(TOKENIZER(" zyzzyva")["input_ids"]) == len(" zyzzyva")
    assert len(TOKENIZER("日")["input_ids"]) == 3


def test_a_fenced_marker_is_plain_text() -> None:
    ids = TOKENIZER("‹|user|>")["input_ids"]
    assert not set(ids) & set(TOKENIZER.all_special_ids)


def test_every_byte_has_its_own_symbol() -> None:
    assert len(set(byte_symbols())) == 256


def test_the_chat_template_joins_messages_to_the_text_of_the_view() -> None:
    messages = [
        {"role": "user", "content": "<|user|> ann will cut<|end|><|learner|>"},
        {"role": "assistant", "content": "comply"},
        {"role": "user", "content": "<|user|> knife<|end|><|learner|>"},
    ]
    assert TOKENIZER.apply_chat_template(messages, tokenize=False) == (
        "<|user|> ann will cut<|end|><|learner|> comply<|end|>"
        "<|user|> knife<|end|><|learner|>"
    )


def test_a_saved_tokenizer_loads_as_the_same(tmp_path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "<|user|> ann will cut , over-refusal é<|end|><|learner|>"
    assert again(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    assert again.padding_side == "left"
    assert (again.eos_token, again.pad_token) == ("<|end|>", "<|pad|>")
    assert again.chat_template == TOKENIZER.chat_template
