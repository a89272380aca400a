"""Learning from labels that are sometimes wrong: losses to the digit, and what they do."""

import numpy as np
import pytest
import torch

from superalign_agents.decoding import sample
from superalign_env.errors import InvalidOption
from superalign_training.algorithms.algorithm import experience_kinds, make_algorithm
from superalign_training.algorithms.fitting import (
    ExampleTensors,
    fit,
    mean_over_tokens,
)
from superalign_training.algorithms.supervision import FitSettings
from superalign_training.algorithms.weak_to_strong import WeakToStrongTraining
from superalign_training.algorithms.weak_to_strong_loss import (
    class_losses,
    greedy_answers,
    hardened,
    one_word,
    smallest_losses,
)
from superalign_training.data import Example
from superalign_training.policy import Policy

RNG = np.random.default_rng(5)
YES, NO, END = 40, 41, 1
METHODS = ("naive", "confidence", "confident-only")


def word(prompt, answer, confidence=1.0):
    return Example(tuple(prompt), (answer, END), ("weak",), confidence)


def prompts(count=64):
    """Two tokens; the first one decides, by whether it is even."""
    return [(30 + i % 8, 50 + i // 8) for i in range(count)]


def truth(prompt):
    return YES if prompt[0] % 2 == 0 else NO


def said(policy, asked):
    """The first token of greedy answers."""
    found = sample(
        policy.model,
        asked,
        max_new_tokens=[1] * len(asked),
        stop_ids=[END],
        temperature=0.0,
    )
    return [one.token_ids[0] for one in found]


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# --- losses against float64 numpy


@pytest.mark.parametrize(
    "classes, weight", [(2, 0.0), (2, 0.5), (2, 1.0), (3, 0.3), (1, 0.5)]
)
def test_the_gradient_of_the_confidence_loss_is_prediction_minus_mixture(classes, weight):
    scores = RNG.normal(size=(12, classes))
    labels, sure = RNG.integers(classes, size=12), RNG.uniform(size=12)
    if classes == 1:
        sure[:] = 1.0
    own = scores.argmax(axis=1)
    if classes == 2:
        own = np.zeros(12, int)
        ones = int(labels.sum())
        own[np.argsort(scores[:, 0] - scores[:, 1])[:ones]] = 1
    eye = np.eye(classes)
    weak = np.where(eye[labels] > 0, sure[:, None], 0.0)
    weak += (1 - eye[labels]) * ((1 - sure) / max(1, classes - 1))[:, None]
    target = (1 - weight) * weak + weight * eye[own]
    logits = torch.tensor(scores, requires_grad=True)
    loss = class_losses(
        logits.log_softmax(dim=1), torch.tensor(labels), torch.tensor(sure), weight
    )
    logs = np.log(softmax(scores))
    np.testing.assert_allclose(loss.detach(), -(target * logs).sum(1), atol=1e-12)
    loss.sum().backward()
    np.testing.assert_allclose(logits.grad, softmax(scores) - target, atol=1e-12)


def test_tokens_count_as_much_as_their_rows():
    nats, weights = RNG.uniform(size=(5, 3)), RNG.uniform(size=5)
    real = (np.arange(3)[None] < [[1], [2], [3], [3], [1]]).astype(float)
    nats = nats * real
    expected = (nats * weights[:, None]).sum() / (real * weights[:, None]).sum()
    found = mean_over_tokens(*map(torch.tensor, (nats, real, weights)))
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_the_gradient_of_long_answers_is_that_of_two_weighted_courses(scratch):
    """(1 − w)·label + w·own answer, taken apart into the gradients of each alone."""
    policy = Policy.from_reference(str(scratch))
    policy.model.double()
    lessons = [Example((30 + i, 31), (44, 45, 46, END), ("weak",)) for i in range(4)]
    own = [one._replace(completion_ids=(47, END)) for one in lessons]
    weight = 0.3

    def gradient(rows, weights):
        policy.model.zero_grad()
        loss = mean_over_tokens(
            *ExampleTensors(rows).token_losses(policy.model, torch.arange(len(rows))),
            weights,
        )
        loss.backward()
        return np.concatenate([p.grad.numpy().ravel() for p in policy.model.parameters()])

    apart = [gradient(rows, None) for rows in (lessons, own)]
    tokens = np.array([(1 - weight) * 4 * 4, weight * 4 * 2])
    expected = (tokens[:, None] * apart).sum(0) / tokens.sum()
    both = torch.tensor([1 - weight] * 4 + [weight] * 4)
    np.testing.assert_allclose(gradient(lessons + own, both), expected, atol=1e-6)


# --- own answers


def test_of_two_classes_own_answers_keep_the_balance_of_the_labels():
    scores = torch.tensor([[0.0, 9.0], [0.0, 8.0], [0.0, 7.0], [0.0, 6.0]])
    labels = torch.tensor([1, 0, 0, 0])
    assert hardened(scores, labels).tolist() == [1, 0, 0, 0]
    assert hardened(scores, torch.tensor([1, 1, 0, 1])).tolist() == [1, 1, 1, 0]
    three = torch.tensor([[0.0, 9.0, 1.0]])
    assert hardened(three, torch.tensor([0])).tolist() == [1]


def test_only_answers_of_one_word_are_classes():
    assert one_word([word((5,), NO), word((6,), YES)]).tolist() == [YES, NO]
    assert one_word([word((5,), NO), Example((5,), (8, 9, END))]) is None


def test_own_answers_are_greedy_and_an_endless_one_is_none(scratch):
    policy = Policy.from_reference(str(scratch))
    lessons = [Example((30, 31), (44, 45, END)), Example((32, 33), (46, END))]
    fit(
        policy,
        ExampleTensors(lessons),
        FitSettings(steps=80, learning_rate=2e-2, batch_size=2),
        seed=0,
    )
    asked = [lesson.prompt_ids for lesson in lessons]
    assert greedy_answers(policy, asked, 4) == [lesson.completion_ids for lesson in lessons]
    assert greedy_answers(policy, asked, 2) == [(), (46, END)]
    assert not policy.model.training


def test_the_same_share_of_every_class_is_kept():
    surprises = [5.0, 1.0, 2.0, 9.0, 8.0, 7.0]
    assert smallest_losses(surprises, 0.67, ["a"] * 3 + ["b"] * 3) == [1, 2, 4, 5]
    assert smallest_losses(surprises, 0.5, [None] * 6) == [0, 1, 2]
    assert smallest_losses(surprises, 0.01, ["a"] * 6) == [1]


# --- the algorithm


def test_it_is_registered_and_learns_from_examples():
    made = make_algorithm({"id": "weak-to-strong", "method": "confidence", "steps": 7})
    assert made == WeakToStrongTraining(method="confidence", steps=7)
    assert experience_kinds(WeakToStrongTraining) == {"examples"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("long", [False, True])
def test_every_method_learns_words_and_longer_answers(scratch, method, long):
    policy = Policy.from_reference(str(scratch))
    lessons = [
        Example(p, (44, truth(p), END) if long else (truth(p), END)) for p in prompts(16)
    ]
    steps = []
    numbers = WeakToStrongTraining(
        method=method,
        steps=60,
        batch_size=16,
        learning_rate=2e-2,
        num_train_epochs=99,
        keep_share=0.9,
    ).improve(policy, lessons, seed=3, on_step=lambda done, n: steps.append((done, n)))
    assert numbers["loss"] < 0.5 * numbers["loss_first"]
    assert [done for done, _ in steps] == list(range(1, 61))
    assert numbers["kept"] == (14 / 16 if method == "confident-only" else 1.0)
    assert not policy.model.training


def test_naive_is_cross_entropy_on_the_labels_and_stops_when_all_were_seen_often(scratch):
    lessons = [word(p, truth(p), 0.3) for p in prompts(16)]
    one, other = (Policy.from_reference(str(scratch)) for _ in range(2))
    rules = WeakToStrongTraining(
        steps=99, num_train_epochs=2, batch_size=8, learning_rate=1e-2
    )
    assert rules.improve(one, lessons, seed=9)["steps"] == 4.0
    fit(
        other,
        ExampleTensors(lessons),
        FitSettings(steps=4, learning_rate=1e-2, batch_size=8),
        seed=9,
    )
    assert one.hash == other.hash


def test_unsure_sources_teach_nothing_where_only_confident_labels_count(scratch):
    policy = Policy.from_reference(str(scratch))
    right = [word(p, truth(p), 0.9) for p in prompts(32)]
    wrong = [word(p, YES + NO - truth(p), 0.4) for p in prompts(32)]
    rules = WeakToStrongTraining(
        method="confident-only",
        min_confidence=0.5,
        keep_share=1.0,
        steps=60,
        learning_rate=2e-2,
        num_train_epochs=99,
    )
    numbers = rules.improve(policy, right + wrong, seed=1)
    assert numbers["kept"] == 0.5
    assert said(policy, prompts(32)) == [truth(p) for p in prompts(32)]
    with pytest.raises(InvalidOption, match=r"at most 0\.40"):
        rules.improve(policy, wrong, seed=1)


def test_soft_labels_go_only_as_far_as_their_sources_are_sure(scratch):
    chances = {}
    for soft in (False, True):
        policy = Policy.from_reference(str(scratch))
        lessons = [word((30, 50), YES, 0.7), word((31, 50), NO, 0.7)]
        WeakToStrongTraining(
            steps=150,
            batch_size=2,
            learning_rate=1e-2,
            num_train_epochs=999,
            soft_labels=soft,
        ).improve(policy, lessons, seed=0)
        with torch.no_grad():
            logits = policy.model(input_ids=torch.tensor([[30, 50]])).logits[0, -1]
        chances[soft] = logits.softmax(-1)[YES].item()
    assert chances[False] > 0.95
    assert chances[True] == pytest.approx(0.7, abs=0.03)


def test_nothing_to_learn_is_refused(scratch):
    policy = Policy.from_reference(str(scratch))
    for method in METHODS:
        with pytest.raises(InvalidOption, match="nothing to learn"):
            WeakToStrongTraining(method=method).improve(policy, [], seed=0)


def test_planted_label_noise_is_copied_by_naive_and_resisted_by_the_other_methods(scratch):
    """A student that knows the rule is taught by labels of which 31 % are wrong."""
    asked = prompts(64)
    wrong = {asked[i] for i in np.random.default_rng(0).permutation(64)[:20]}
    labels = [word(p, YES + NO - truth(p) if p in wrong else truth(p)) for p in asked]
    right = {}
    for method in METHODS:
        policy = Policy.from_reference(str(scratch))
        knows = [word(p, truth(p)) for p in asked]
        fit(
            policy,
            ExampleTensors(knows),
            FitSettings(steps=25, learning_rate=1e-2, batch_size=32),
            seed=0,
        )
        rules = WeakToStrongTraining(
            method=method,
            steps=80,
            learning_rate=3e-3,
            num_train_epochs=99,
            aux_coef=0.75,
            keep_share=0.6,
        )
        rules.improve(policy, labels, seed=0)
        answers = said(policy, asked)
        right[method] = np.mean(
            [a == truth(p) for a, p in zip(answers, asked, strict=True)]
        )
    assert right["confidence"] > right["naive"] + 0.05
    assert right["confident-only"] > right["naive"] + 0.1


@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_of_long_answers_mixes_label_and_own_answer(scratch, soft):
    """The first full-weight step against float64 sums over both rows of every lesson."""
    policy = Policy.from_reference(str(scratch))
    lessons = [Example((30 + i, 31), (44, 45, END), ("w",), 0.2 * i) for i in range(1, 5)]
    known = [one._replace(completion_ids=(46, END)) for one in lessons[:2]]
    fit(
        policy,
        ExampleTensors(known + lessons[2:]),
        FitSettings(steps=80, learning_rate=2e-2, batch_size=4),
        seed=0,
    )
    said = greedy_answers(policy, [one.prompt_ids for one in lessons], 7)
    assert said == [(46, END)] * 2 + [(44, 45, END)] * 2
    weight, total, tokens = 0.75, 0.0, 0.0
    for lesson, own in zip(lessons, said, strict=True):
        sure = lesson.confidence if soft else 1.0
        for ids, counts in ((lesson.completion_ids, (1 - weight) * sure), (own, weight)):
            nats = -np.log(probability(policy, lesson.prompt_ids, ids))
            total, tokens = total + counts * nats, tokens + counts * len(ids)
    rules = WeakToStrongTraining(
        method="confidence",
        aux_coef=weight,
        warmup_frac=0.0,
        steps=1,
        batch_size=4,
        soft_labels=soft,
    )
    found = rules.improve(policy, lessons, seed=0)["loss"]
    assert found == pytest.approx(total / tokens, rel=1e-4)


def probability(policy, prompt, ids):
    row = torch.tensor([prompt + ids])
    with torch.no_grad():
        logs = policy.model(input_ids=row).logits[0].double().log_softmax(-1)
    places = range(len(prompt) - 1, row.shape[1] - 1)
    return np.exp(sum(logs[p, row[0, p + 1]].item() for p in places))
