"""Classifiers as critics: a reward model of ours, and a guard with named classes."""

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

import superalign_env
from superalign_agents.classifier import ClassifierCritic
from superalign_agents.scripted import RandomMenu
from superalign_env.errors import InvalidOption
from superalign_env.rollout import Rollouts
from superalign_env.types import Turn, View
from superalign_env.verdicts import parse
from superalign_training.algorithms.reward_model import RewardModel
from superalign_training.data import Preference
from superalign_training.policy import Policy


def view(request, answer, form="json-schema"):
    text = f"<|user|> {request}<|end|><|learner|> {answer}<|end|><|critic|>"
    turns = (Turn("user", request), Turn("learner_0", answer))
    return View("e0", 0, "critic_0", "critic", 1, 1, text, (), turns, form=form)


ASKED = [
    f"ann will {verb} spoon near wall today ; help ann"
    for verb in ("drop", "burn", "wash", "throw", "carry", "swing")
]


@pytest.fixture(scope="module")
def reward_model(scratch, tmp_path_factory):
    """A scorer that prefers to comply, and the policy that lent its body."""
    policy = Policy.from_reference(str(scratch))
    pairs = []
    for request in ASKED:
        prompt = policy.tokenizer(f"<|user|> {request}<|end|><|learner|>")["input_ids"]
        good, bad = (
            policy.tokenizer(f" {word}<|end|>")["input_ids"]
            for word in ("comply", "refuse")
        )
        pairs.append(Preference(tuple(prompt), tuple(good), tuple(bad)))
    folder = tmp_path_factory.mktemp("reward") / "scorer"
    RewardModel(steps=60, num_train_epochs=99, learning_rate=1e-2, folder=folder).improve(
        policy, pairs, seed=1
    )
    return folder, policy


def test_a_reward_model_of_ours_judges_what_it_was_trained_on(reward_model):
    folder, policy = reward_model
    critic = ClassifierCritic(folder)
    good, bad = (
        [parse(r.text).score for r in critic.act([view(q, word) for q in ASKED])]
        for word in ("comply", "refuse")
    )
    assert min(good) > 0.6 and max(bad) < 0.4
    ids = [
        *policy.tokenizer(f"<|user|> {ASKED[0]}<|end|><|learner|>")["input_ids"],
        *policy.tokenizer(" comply<|end|>")["input_ids"],
    ]
    raw = RewardModel.load(folder).score(ids[:-2], ids[-2:])
    assert good[0] == pytest.approx(1 / (1 + 2.718281828**-raw), abs=1e-5)


def test_the_spec_names_the_weights_and_the_folder(reward_model):
    folder, _ = reward_model
    spec = ClassifierCritic(folder).spec
    assert spec.id == "classifier" and spec.options["model"] == str(folder)
    assert len(spec.policy) == 32


def test_it_sits_in_a_critics_seat(reward_model):
    folder, _ = reward_model
    scenario = superalign_env.make_scenario("red-team", vanilla=1.0)
    seats = dict.fromkeys(scenario.seats, RandomMenu())
    seats["critic_0"] = ClassifierCritic(folder)
    episodes = Rollouts(scenario, seats).run(8)
    assert len({episode.utterances[-2].text for episode in episodes}) == 2
    for episode in episodes:
        assert episode.ending.kind == "terminated"
        score = parse(episode.utterances[-1].text).score
        assert (score > 0.5) == (episode.utterances[-2].text == "comply")


@pytest.fixture(scope="module")
def guard(scratch, tmp_path_factory):
    """Makes the folder of an untrained guard with classes of given names."""

    def make(names):
        tokenizer = AutoTokenizer.from_pretrained(scratch)
        torch.manual_seed(3)
        model = LlamaForSequenceClassification(
            LlamaConfig(
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                vocab_size=len(tokenizer),
                pad_token_id=tokenizer.pad_token_id,
                id2label=dict(enumerate(names)),
                label2id={name: n for n, name in enumerate(names)},
            )
        )
        folder = tmp_path_factory.mktemp("guard")
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


def test_a_guards_score_is_the_probability_of_its_good_class(guard):
    folder = guard(["unsafe", "Safe"])
    asked = [view(ASKED[0], "comply")]
    found = parse(ClassifierCritic(folder).act(asked)[0].text)
    flipped = parse(ClassifierCritic(folder, good="unsafe").act(asked)[0].text)
    assert found.score + flipped.score == pytest.approx(1.0)
    assert found.confidence == pytest.approx(abs(2 * found.score - 1))


def test_a_guard_without_a_known_good_class_asks_for_it(guard):
    folder = guard(["LABEL_0", "LABEL_1"])
    with pytest.raises(InvalidOption, match="good='LABEL_0'"):
        ClassifierCritic(folder)
    assert ClassifierCritic(folder, good="LABEL_1").act([view("x", "y")])


@pytest.mark.parametrize("reading", ["text", "chat", "pair"])
def test_every_way_of_reading_scores_every_answer_and_company_does_not_matter(
    guard, reading
):
    critic = ClassifierCritic(guard(["unsafe", "safe"]), reading=reading, fault="harm")
    views = [view(q, w) for q in ASKED for w in ("comply", "refuse refuse")]
    together = [parse(reply.text).score for reply in critic.act(views)]
    alone = [parse(critic.act([one])[0].text).score for one in views]
    assert together == pytest.approx(alone, abs=1e-6)
    assert len({round(score, 9) for score in together}) > 1


def test_nothing_said_is_a_shrug(guard):
    critic = ClassifierCritic(guard(["unsafe", "safe"]))
    silent = View("e0", 0, "critic_0", "critic", 0, 1, "nothing")
    assert parse(critic.act([silent])[0].text).confidence == 0.0


def test_a_language_model_is_no_classifier(scratch):
    with pytest.raises(InvalidOption, match="classification head"):
        ClassifierCritic(scratch)


def test_pickled_weights_are_refused(guard, tmp_path):
    folder = guard(["unsafe", "safe"])
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InvalidOption, match="pickled"):
        ClassifierCritic(folder)
