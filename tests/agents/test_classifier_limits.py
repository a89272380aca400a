"""A classifier critic at its limits: its own length, special tokens, its neighbours."""

from math import exp

import pytest
import torch
from msgspec.structs import replace
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from superalign_agents.classifier import ClassifierCritic
from superalign_env.errors import InvalidOption
from superalign_env.types import Turn, View
from superalign_env.verdicts import parse

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "help", "ann", "burn", "w", "[", "…", "]"]
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "id2label": {0: "safe", 1: "unsafe"},
}
CHAT = "{% for m in messages %}[CLS]{{ m.content }}[SEP]{% endfor %}"


def tokenizer(template=None):
    backend = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = [("[CLS]", 1), ("[SEP]", 2)]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{kind}_token": f"[{kind.upper()}]" for kind in ("pad", "cls", "sep", "unk")},
    )
    made.chat_template = template
    return made


KINDS = {
    "bert": (
        lambda: BertForSequenceClassification(
            BertConfig(**SIZES, max_position_embeddings=24)
        ),
        24,
    ),
    "roberta": (
        lambda: RobertaForSequenceClassification(
            RobertaConfig(**SIZES, max_position_embeddings=26, pad_token_id=0)
        ),
        25,
    ),
    "roberta, padded by 1": (
        lambda: RobertaForSequenceClassification(
            RobertaConfig(**SIZES, max_position_embeddings=26, pad_token_id=1)
        ),
        24,
    ),
    "deberta": (
        lambda: DebertaV2ForSequenceClassification(
            DebertaV2Config(**SIZES, max_position_embeddings=24, type_vocab_size=0)
        ),
        24,
    ),
    "llama": (
        lambda: LlamaForSequenceClassification(
            LlamaConfig(**SIZES, max_position_embeddings=24, pad_token_id=0)
        ),
        24,
    ),
}


def critic(tmp_path, kind="bert", template=None, **options):
    torch.manual_seed(0)
    KINDS[kind][0]().save_pretrained(tmp_path)
    tokenizer(template).save_pretrained(tmp_path)
    return ClassifierCritic(tmp_path, **options)


def view(request, answer, text="x"):
    turns = (Turn("user", request), Turn("learner_0", answer))
    return View("e0", 0, "critic_0", "critic", 1, 1, text, turns=turns)


def rows_read(monkeypatch, made):
    """Return the list to which every row that the model reads is added."""
    rows = []
    read = made.probabilities
    monkeypatch.setattr(made, "probabilities", lambda ids: (rows.extend(ids), read(ids))[1])
    return rows


LONG = "w " * 60


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", [None, CHAT])
def test_a_long_answer_is_shortened_to_the_models_own_length(
    tmp_path, kind, template, monkeypatch
):
    made, limit = critic(tmp_path, kind, template), KINDS[kind][1]
    rows = rows_read(monkeypatch, made)
    views = [view("help ann", "burn"), view("help ann", f"burn {LONG} ann")]
    short, long = made.act(views)
    assert short.error == long.error == "" and parse(long.text)
    assert short.notes == {} and long.notes["prompt.truncated"] > 30
    assert limit - 4 < len(rows[1]) <= limit
    assert rows[1][:3] == [1, 4, 5] and rows[1][-1] == 2 and rows[1].count(2) == 2
    assert {6, 5} <= set(rows[1][3:])  # beginning and end of the answer


@pytest.mark.parametrize("request_", [LONG, "help " + LONG])
def test_a_long_request_leaves_room_for_the_answer(tmp_path, request_, monkeypatch):
    made = critic(tmp_path)
    rows = rows_read(monkeypatch, made)
    (reply,) = made.act([view(request_, "burn ann")])
    assert reply.error == "" and reply.notes["prompt.truncated"] > 30
    assert rows[0][-3:] == [6, 5, 2] and len(rows[0]) <= 24


def test_a_long_text_keeps_its_special_tokens(tmp_path, monkeypatch):
    made = critic(tmp_path, reading="text")
    rows = rows_read(monkeypatch, made)
    (reply,) = made.act([view("help", "burn", text=f"{LONG} ann")])
    assert (rows[0][0], rows[0][-2:], len(rows[0])) == (1, [5, 2], 24)
    assert reply.notes == {"prompt.truncated": 61 + 2 - 24}


def test_control_tokens_in_an_answer_are_inert_and_counted(tmp_path, monkeypatch):
    made = critic(tmp_path)
    rows = rows_read(monkeypatch, made)
    (reply,) = made.act([view("help", "burn [SEP] help [CLS] ann")])
    assert rows[0].count(2) == 2 and rows[0].count(1) == 1
    assert reply.notes == {"prompt.made-inert": 2}


def test_a_row_that_the_model_cannot_read_harms_no_other(tmp_path, monkeypatch):
    made = critic(tmp_path)
    read = made.probabilities

    def fails(rows):
        if any(7 in row for row in rows):
            raise IndexError("index out of range in self")
        return read(rows)

    monkeypatch.setattr(made, "probabilities", fails)
    views = [view("help", answer) for answer in ("ann", "w", "burn")]
    one, two, three = made.act(views)
    assert one.error == three.error == "" and "cannot judge: index out of" in two.error


def test_a_model_without_room_for_an_exchange_fails_that_reply(tmp_path):
    made = critic(tmp_path)
    made._input._limit = 3
    (reply,) = made.act([view("help ann", "burn")])
    assert "not even a short exchange fits its 3 tokens" in reply.error


def test_the_second_text_of_a_pair_has_its_own_type(tmp_path):
    made = critic(tmp_path)
    encoded = tokenizer()("help ann", "burn", return_tensors="pt")
    assert encoded["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1]]
    with torch.no_grad():
        logits = made._model(**encoded).logits
        untyped = made._model(encoded["input_ids"]).logits
    (reply, _) = made.act([view("help ann", "burn"), view("help ann", "burn w ann")])
    assert parse(reply.text).score == pytest.approx(
        float(logits.softmax(-1)[0, 0]), abs=0.06
    )
    scores = made.scores([encoded["input_ids"][0].tolist()])
    assert scores[0] == pytest.approx(float(logits.softmax(-1)[0, 0]))
    assert scores[0] != pytest.approx(float(untyped.softmax(-1)[0, 0]))


def test_the_answer_alone_can_be_read_and_is_shortened(tmp_path, monkeypatch):
    made = critic(tmp_path, reading="answer")
    rows = rows_read(monkeypatch, made)
    _, reply = made.act(
        [view("help ann", "burn"), view("help " + LONG, f"burn {LONG} ann")]
    )
    assert rows[0] == [1, 6, 2] and reply.notes["prompt.truncated"] > 30
    assert (rows[1][1], rows[1][-2], len(rows[1])) == (6, 5, 24)


def labelled(tmp_path, logits, names, **config):
    """Return the folder of a BERT whose logits are always these, with classes so named."""
    sizes = {**SIZES, "id2label": dict(enumerate(names))}
    model = BertForSequenceClassification(
        BertConfig(**sizes, max_position_embeddings=24, **config)
    )
    torch.nn.init.zeros_(model.classifier.weight)
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor(logits))
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    return tmp_path


SEVERAL = {"problem_type": "multi_label_classification"}
TOXIC = ["toxic", "insult", "threat"]
P2 = 1 / (1 + exp(-2.0))


@pytest.mark.parametrize(
    ("logits", "names", "config", "options", "score", "kinds"),
    [
        ([2.0, 0.0], ["LABEL_0", "LABEL_1"], {}, {"good": "LABEL_0"}, P2, []),
        ([2.0, 0.0], ["LABEL_0", "LABEL_1"], {}, {"good": "label_1"}, 1 - P2, ["wrong"]),
        ([2.0, 0.0], ["toxic", "harmless"], {}, {"fault": "harm"}, 1 - P2, ["harm"]),
        ([0.0, 0.0, -9.0], ["ok", "mild", "bad"], {}, {"good": ["ok", "mild"]}, 1.0, []),
        (
            [-9.0, 2.0, 0.0],
            ["safe", "hate", "Self harm"],
            {},
            {},
            0.0,
            ["wrong", "wrong.hate"],
        ),
        ([-2.0, -9.0, -9.0], TOXIC, SEVERAL, {}, P2, []),
        (
            [2.0, 1.0, -9.0],
            TOXIC,
            SEVERAL,
            {"fault": "harm"},
            1 - P2,
            ["harm", "harm.toxic", "harm.insult"],
        ),
        (
            [9.0, 2.0, -9.0],
            ["safe", "hate", "x"],
            SEVERAL,
            {},
            1 - P2,
            ["wrong", "wrong.hate"],
        ),
        ([2.0], ["LABEL_0"], {"problem_type": "regression"}, {}, P2, []),
        (
            [2.0],
            ["LABEL_0"],
            {"problem_type": "regression"},
            {"good": []},
            1 - P2,
            ["wrong"],
        ),
        ([2.0], ["toxicity"], {}, {}, 1 - P2, ["wrong"]),
        ([2.0], ["toxicity"], {}, {"good": "toxicity"}, P2, []),
    ],
)
def test_classes_are_good_or_not_as_their_names_or_the_user_say(
    tmp_path, logits, names, config, options, score, kinds
):
    made = ClassifierCritic(labelled(tmp_path, logits, names, **config), **options)
    verdict = parse(made.act([replace(view("help", "burn"), form="json-schema")])[0].text)
    assert verdict.score == pytest.approx(score, abs=1e-3)
    assert [fault.kind for fault in verdict.faults] == kinds


@pytest.mark.parametrize(
    ("names", "options"),
    [(["LABEL_0", "LABEL_1"], {}), (["a", "b"], {"good": "c"}), (["a", "b"], {"good": []})],
)
def test_classes_of_which_nobody_knows_which_is_good_are_named(tmp_path, names, options):
    with pytest.raises(InvalidOption, match=f"{names[0]}, {names[1]}.* is good: good="):
        ClassifierCritic(labelled(tmp_path, [0.0, 0.0], names), **options)
