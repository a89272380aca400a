"""Hidden words: whole words only, markers stay, the same in speaking and in training."""

import pytest

from superalign_agents.prompting import checked_words, remove_words, without_words
from superalign_agents.references import make_agent
from superalign_env.errors import InvalidOption
from superalign_env.types import Message, View

TEXT = "<|user|> ann will cut rope near bob secretly ; help ann<|end|><|learner|>"


def test_whole_words_are_hidden_with_their_space() -> None:
    assert remove_words(TEXT, ("secretly",)) == TEXT.replace(" secretly", "")
    assert remove_words(TEXT, ("ann",)) == (
        "<|user|> will cut rope near bob secretly ; help<|end|><|learner|>"
    )
    assert remove_words(TEXT, ("secret", "user", "learner")) == TEXT
    assert remove_words("secretly done\nsecretly", ("secretly",)) == " done\n"
    assert remove_words(TEXT, ()) == TEXT


def test_messages_are_hidden_from_as_well() -> None:
    view = View("e", 0, "learner_0", "learner", 0, 1, TEXT, (Message("user", TEXT),))
    seen = without_words(view, ("secretly",))
    assert seen.messages[0].content == seen.text == remove_words(TEXT, ("secretly",))
    assert view.text == TEXT


@pytest.mark.parametrize("words", ["secretly", ["two words"], ["<|user|>"], [""], [3]])
def test_what_is_no_word_cannot_be_hidden(words: object) -> None:
    with pytest.raises(InvalidOption, match="blind"):
        checked_words(words)  # type: ignore[arg-type]


def test_a_blind_model_reads_the_rest_and_says_so_in_its_recorded_form() -> None:
    view = View("e", 0, "learner_0", "learner", 0, 1, TEXT, max_new_tokens=2)
    seeing = make_agent("micro/1")
    blind = make_agent({"id": "micro/1", "blind": ["secretly"]})
    word = seeing.tokenizer(" secretly")["input_ids"][0]  # type: ignore[union-attr]
    assert word in seeing.prompt_ids(view)  # type: ignore[union-attr]
    assert word not in blind.prompt_ids(view)  # type: ignore[union-attr]
    assert blind.act([view])[0].prompt_ids == tuple(blind.prompt_ids(view))  # type: ignore[union-attr]
    assert blind.spec.options["blind"] == ["secretly"]
    assert "blind" not in seeing.spec.options
