"""Losses of a student that learns from labels of a weaker supervisor, mixed with its own answers.

Burns et al. 2023 (arXiv 2312.09390, section 4.3 and appendix A.4) harden the student's own
prediction and mix it with the weak label. Their answers are classes. Here a one-word answer
is a class, read from the logits of the very pass that is trained on; any longer answer is
decoded greedily as a whole, so that a label's wrong first step does not decide the rest.
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from superalign_agents.decoding import sample
from superalign_env.errors import InvalidOption
from superalign_env.seeding import mix
from superalign_training.algorithms.algorithm import OnStep
from superalign_training.algorithms.fitting import (
    ExampleTensors,
    batch_and_steps,
    descend,
    mean_over_tokens,
    shuffled_places,
)
from superalign_training.algorithms.supervision import FitSettings
from superalign_training.algorithms.weak_to_strong import WeakToStrongTraining
from superalign_training.data import Example
from superalign_training.policy import Policy

Ids = tuple[int, ...]

_EXTRA_TOKENS = 4
"""Tokens by which an own answer may be longer than the longest label."""


def improve(
    settings: WeakToStrongTraining,
    policy: Policy,
    experience: Sequence[Example],
    *,
    seed: int,
    on_step: OnStep | None,
) -> dict[str, float]:
    """Train a policy in place; see `WeakToStrongTraining.improve`."""
    examples = _sure(settings, experience)
    batch, steps = batch_and_steps(settings, len(examples))
    fit = FitSettings(steps=steps, learning_rate=settings.learning_rate, batch_size=batch)
    losses_of = _Losses(settings, policy, examples, fit, seed=seed)
    losses = descend(policy, fit, losses_of.loss, seed=seed, on_step=on_step)
    tenth = max(1, steps // 10)
    return {
        "examples": float(len(experience)),
        "kept": len(losses_of.kept) / len(experience),
        "steps": float(steps),
        "loss_first": sum(losses[:tenth]) / tenth,
        "loss": sum(losses[-tenth:]) / tenth,
    }


def _sure(settings: WeakToStrongTraining, examples: Sequence[Example]) -> Sequence[Example]:
    """Return the examples whose confidence is high enough."""
    if not examples:
        raise InvalidOption("there is nothing to learn; give at least one example")
    if settings.method != "confident-only":
        return examples
    confident = [
        example for example in examples if example.confidence >= settings.min_confidence
    ]
    if not confident:
        highest = max(example.confidence for example in examples)
        raise InvalidOption(
            f"no source is sure enough of any of {len(examples)} labels (at most {highest:.2f}"
            f"); lower min_confidence={settings.min_confidence}, or ask better sources"
        )
    return confident


class _Losses:
    """Loss of every step of one fit.

    Args:
        rules: settings.
        policy: the student, asked for its own answers.
        examples: all that may be taught.
        fit: steps, and examples of one step.
        seed: of their order.
    """

    def __init__(
        self,
        rules: WeakToStrongTraining,
        policy: Policy,
        examples: Sequence[Example],
        fit: FitSettings,
        *,
        seed: int,
    ) -> None:
        self._rules = rules
        self._policy = policy
        self._examples = examples
        self._fit = fit
        self._rows = ExampleTensors(examples)
        sure = torch.tensor(
            [example.confidence if rules.soft_labels else 1.0 for example in examples]
        )
        self._sure = sure.to(policy.model.device)
        self._seed = seed
        self._order = shuffled_places(len(examples), fit.batch_size * fit.steps, seed)
        self._words = one_word(examples)
        self._turn = round(rules.warmup_frac * fit.steps)
        self._own: dict[int, Example] = {}
        self.kept: Sequence[int] = range(len(examples))

    def loss(self, model: PreTrainedModel, step: int) -> torch.Tensor:
        """Return the loss of a step."""
        rules, batch = self._rules, self._fit.batch_size
        if rules.method == "confident-only" and step == self._turn and rules.keep_share < 1:
            self._leave_out(model, step)
        places = self._order[step * batch : (step + 1) * batch]
        weight = self._weight(step)
        if self._words is not None and (weight or rules.soft_labels):
            return self._of_words(model, places, self._words, weight=weight)
        if weight:
            return self._of_texts(model, places, step, weight=weight)
        nats, real = self._rows.token_losses(model, places)
        return mean_over_tokens(nats, real, self._sure[places])

    def _weight(self, step: int) -> float:
        """Return the weight of the student's own answers at a step."""
        if self._rules.method != "confidence":
            return 0.0
        return self._rules.aux_coef * min(1.0, step / self._turn if self._turn else 1.0)

    def _of_words(
        self,
        model: PreTrainedModel,
        places: torch.Tensor,
        words: torch.Tensor,
        *,
        weight: float,
    ) -> torch.Tensor:
        """Return the loss of one-word answers; the student's own come from the same pass."""
        logits, ids = self._rows.read(model, places)
        words = words.to(logits.device)
        scores = logits[:, 0].log_softmax(dim=-1)[:, words]
        labels = torch.searchsorted(words, ids[:, 0].contiguous())
        first_losses = class_losses(scores, labels, self._sure[places], weight)
        if ids.shape[1] == 1:
            return first_losses.mean()
        end = torch.nn.functional.cross_entropy(
            logits[:, 1], ids[:, 1], ignore_index=-100, reduction="sum"
        )
        return (first_losses.sum() + end) / (len(first_losses) + (ids[:, 1] >= 0).sum())

    def _of_texts(
        self, model: PreTrainedModel, places: torch.Tensor, step: int, *, weight: float
    ) -> torch.Tensor:
        """Return the loss of longer answers: labels and own answers are rows alike."""
        if not self._own or step % self._rules.refresh_steps == 0:
            self._decode(step)
        indices = places.tolist()
        labels = [self._examples[place] for place in indices]
        own_answers = [self._own[place] for place in indices]
        differ = [
            i for i, (a, b) in enumerate(zip(labels, own_answers, strict=True)) if a != b
        ]
        # Who says what the label says is one row instead of two.
        rows = ExampleTensors([*labels, *[own_answers[i] for i in differ]])
        nats, real = rows.token_losses(model, torch.arange(len(rows)))
        of_labels = (1.0 - weight) * self._sure[places] + weight
        of_labels[differ] -= weight
        weights = torch.cat([of_labels, torch.full_like(of_labels[: len(differ)], weight)])
        return mean_over_tokens(nats, real, weights)

    def _decode(self, step: int) -> None:
        """Decode the student's own answers to the examples of the next steps."""
        batch, ahead = (
            self._fit.batch_size,
            self._rules.refresh_steps - step % self._rules.refresh_steps,
        )
        coming = self._order[step * batch : (step + ahead) * batch]
        places = sorted(set(coming.tolist()))
        longest = (
            max(len(example.completion_ids) for example in self._examples) + _EXTRA_TOKENS
        )
        prompts = [self._examples[place].prompt_ids for place in places]
        answers = greedy_answers(self._policy, prompts, longest)
        self._own = {
            # Who does not come to an end has no answer of its own: the label stands.
            place: self._examples[place]._replace(completion_ids=ids)
            if ids
            else self._examples[place]
            for place, ids in zip(places, answers, strict=True)
        }

    @torch.no_grad()
    def _leave_out(self, model: PreTrainedModel, step: int) -> None:
        """Continue with the examples of the smallest losses."""
        losses: list[float] = []
        for places in torch.split(torch.arange(len(self._examples)), 256):
            nats, real = self._rows.token_losses(model, places)
            losses += (nats.sum(1) / real.sum(1)).tolist()
        groups = [
            example.completion_ids[0] if self._words is not None else None
            for example in self._examples
        ]
        self.kept = smallest_losses(losses, self._rules.keep_share, groups)
        batch, steps_left = self._fit.batch_size, self._fit.steps - step
        order_of_kept = shuffled_places(
            len(self.kept), batch * steps_left, mix(self._seed, step)
        )
        order = torch.as_tensor(self.kept)[order_of_kept]
        self._order = torch.cat([self._order[: step * batch], order])


def one_word(examples: Sequence[Example]) -> torch.Tensor | None:
    """Return the first tokens [K] of all labels, ascending; None if one is longer.

    A one-word answer is one token and the end of the sequence.
    """
    if any(len(example.completion_ids) > 2 for example in examples):
        return None
    return torch.as_tensor(sorted({example.completion_ids[0] for example in examples}))


def hardened(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the student's own classes [B].

    Of two classes each is given as often as the labels give it (Burns et al.'s adaptive
    threshold): a student that is sure of one class from the start would otherwise confirm
    itself into saying nothing else. Of more classes the likeliest is taken.

    Args:
        scores: [B, K] log-probabilities or logits.
        labels: [B] weak ones.
    """
    if scores.shape[1] != 2:
        return scores.argmax(dim=1)
    margin = scores[:, 1] - scores[:, 0]
    classes = torch.zeros_like(labels)
    classes[margin.topk(int(labels.sum())).indices] = 1
    return classes


def class_losses(
    scores: torch.Tensor, labels: torch.Tensor, sure: torch.Tensor, weight: float
) -> torch.Tensor:
    """Return the cross-entropy [B] to (1 − weight)·weak + weight·own, in nats.

    Args:
        scores: [B, K] log-probabilities of the classes, with gradients.
        labels: [B] weak ones.
        sure: [B] probability of the weak label; the rest is shared by the other classes.
        weight: of the own, hardened answer.
    """
    classes = scores.shape[1]
    spread = ((1.0 - sure) / max(1, classes - 1))[:, None].expand(-1, classes)
    weak = spread.scatter(1, labels[:, None], sure[:, None])
    hard_labels = torch.zeros_like(weak)
    hard_labels[torch.arange(len(hard_labels)), hardened(scores.detach(), labels)] = 1.0
    return -(((1.0 - weight) * weak + weight * hard_labels) * scores).sum(dim=1)


def greedy_answers(policy: Policy, prompts: Sequence[Ids], longest: int) -> list[Ids]:
    """Return a policy's greedy completions, end of sequence included.

    An answer that does not end is none: its place is empty.

    Args:
        policy: in whatever mode; it is left in the same.
        prompts: B, none empty.
        longest: answer, in tokens.
    """
    model = policy.model
    was_training = model.training
    model.train(False)
    try:
        decoded = sample(
            model,
            prompts,
            max_new_tokens=[longest] * len(prompts),
            stop_ids=[int(policy.tokenizer.eos_token_id or 0)],
            temperature=0.0,
        )
    finally:
        model.train(was_training)
    return [answer.token_ids if answer.finish == "stop" else () for answer in decoded]


def smallest_losses(
    losses: Sequence[float], keep_share: float, groups: Sequence[object]
) -> list[int]:
    """Return the places of the examples of the smallest losses, in order.

    The share is kept of every group, or the rarer class would be thrown out first.

    Args:
        losses: of N examples.
        keep_share: share in (0, 1]; at least one of each group is kept.
        groups: of the examples, such as their one-word labels.
    """
    by_group: dict[object, list[int]] = {}
    for place, group in enumerate(groups):
        by_group.setdefault(group, []).append(place)
    kept: list[int] = []
    for places in by_group.values():
        ranked = sorted(places, key=lambda place: (losses[place], place))
        kept += ranked[: max(1, round(keep_share * len(places)))]
    return sorted(kept)
