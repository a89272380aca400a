"""Capacity of a fresh model: accuracy of a copy trained on gold labels.

The copy answers held-out tasks before it is taught anything, after a few steps (what rises
that soon was there already: saliency), and at the end (the ceiling). The best of several
sampled answers of the untaught copy is another view of capacity, which guessing inflates
where few answers are possible. The copy is thrown away; it never supervises anybody.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from superalign_env.canonical import content_hash
from superalign_env.errors import RecordDamaged
from superalign_env.seeding import label, mix
from superalign_training.algorithms.fitting import ExampleTensors, fit
from superalign_training.algorithms.supervision import FitSettings
from superalign_training.data import Example
from superalign_training.evaluation.holdout import (
    Holdout,
    answer_holdout,
    at_temperature,
    solved,
    without_gold,
)
from superalign_training.evaluation.settings import Capability
from superalign_training.policy import Policy


class Ceiling(msgspec.Struct, frozen=True):
    """Results of a fresh model on a holdout of N tasks, as plain values for the record."""

    fresh: tuple[float, ...]
    """[N] scores before it was taught anything."""
    salient: tuple[float, ...]
    """[N] after a few steps on gold labels."""
    taught: tuple[float, ...]
    """[N] at the end of the fit: C."""
    keys: tuple[str, ...]
    """[N] what its answers come to at the end."""
    best: tuple[float, ...] = ()
    """[N] the best score of several sampled answers before any teaching."""

    @classmethod
    def from_plain(cls, plain: Any) -> "Ceiling":
        """Read what `plain` returned.

        Raises:
            RecordDamaged: it is no ceiling.
        """
        try:
            return msgspec.convert(plain, cls)
        except msgspec.ValidationError as error:
            raise RecordDamaged(
                f"a stage recorded no usable ceiling: {error}; fork the run before it"
            ) from error

    def plain(self) -> dict[str, Any]:
        """Return plain JSON values."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


def ceiling_key(
    weights: str, holdout: Holdout, train: Holdout, rules: Capability, *, seed: int
) -> str:
    """Return a hash of everything that a ceiling depends on, for reuse.

    Args:
        weights: content hash of the fresh model.
        holdout: that it answers.
        train: tasks whose gold labels it is taught.
        rules: how.
        seed: of the order of the examples.
    """
    return content_hash(
        {
            "seed": seed,
            "weights": weights,
            "asked": [task.id for task in holdout.tasks],
            "taught": [task.id for task in train.tasks],
            "rules": rules.model_dump(mode="json"),
        }
    )


def find_ceiling(
    policy: Policy, holdout: Holdout, train: Holdout, rules: Capability, *, seed: int
) -> Ceiling:
    """Train a fresh model on gold labels and measure it on the holdout.

    Args:
        policy: taught in place, and of no use afterwards.
        holdout: held-out tasks.
        train: tasks of the training split.
        rules: how it is taught.
        seed: of the order of the examples and of sampled answers.

    Raises:
        InvalidOption: tasks without a gold answer.
    """
    before = answer_holdout(policy.agent, holdout)
    best = best_of(policy, holdout, rules.best_of, seed=seed) if rules.best_of else ()
    rows = ExampleTensors(gold_examples(policy, train))
    before_check, after_check = _halves(rules.ceiling, rules.salient_steps)
    fit(policy, rows, before_check, seed=mix(seed, 1))
    salient = answer_holdout(policy.agent, holdout)
    if after_check is None:
        return Ceiling(before.scores, salient.scores, salient.scores, salient.keys, best)
    fit(policy, rows, after_check, seed=mix(seed, 2))
    after = answer_holdout(policy.agent, holdout)
    return Ceiling(before.scores, salient.scores, after.scores, after.keys, best)


def gold_examples(policy: Policy, train: Holdout) -> list[Example]:
    """Return gold answers to tasks as a policy's completions.

    Raises:
        InvalidOption: nobody knows an answer to any of them.
    """
    source = train.scenario.source
    answered = [
        (view, answer)
        for task, view in zip(train.tasks, train.views, strict=True)
        if (answer := source.gold(task).answer)
    ]
    if not answered:
        raise without_gold(source)
    return [
        Example(policy.prompt_ids(view), policy.reply_ids(view, answer), ("gold",))
        for view, answer in answered
    ]


def best_of(
    policy: Policy, holdout: Holdout, members: int, *, seed: int
) -> tuple[float, ...]:
    """Return the best score [N] of several answers sampled at temperature 1."""
    views = [
        msgspec.structs.replace(view, seed=mix(seed, label(view.episode), member))
        for view in holdout.views
        for member in range(members)
    ]
    texts = [reply.text for reply in at_temperature(policy.agent, 1.0).act(views)]
    return tuple(
        _best(holdout, place, texts[place * members : (place + 1) * members])
        for place in range(len(holdout.tasks))
    )


def _best(holdout: Holdout, place: int, texts: Sequence[str]) -> float:
    source, task = holdout.scenario.source, holdout.tasks[place]
    return max(solved(source, task, text) for text in dict.fromkeys(texts))


def _halves(settings: FitSettings, steps: int) -> tuple[FitSettings, FitSettings | None]:
    """Split a fit in two without changing its learning rate at any step."""
    if steps >= settings.steps:
        return settings, None
    turn = settings.learning_rate_at(steps)
    return (
        settings.model_copy(update={"steps": steps, "final_learning_rate": turn}),
        settings.model_copy(
            update={"steps": settings.steps - steps, "learning_rate": turn}
        ),
    )
