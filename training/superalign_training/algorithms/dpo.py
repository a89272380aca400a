"""Direct preference optimisation on given token ids (TRL's DPOTrainer).

Pairs come tokenised, with the reference log-probs beside them. What was left out:
f-divergences, length desensitising, templates, truncation, evaluation; and TRL's way of
computing the reference, which loads or copies a second model.

Losses of the margin m = β·(log-ratio of the chosen − log-ratio of the rejected), where a
share e of the preferences is believed to be the wrong way round:

* ``sigmoid`` −log σ(m)  (Rafailov et al. 2023, eq. 7);
* ``conservative`` −(1−e)·log σ(m) − e·log σ(−m)  (cDPO, Mitchell 2023): bounds the margin;
* ``robust`` (−(1−e)·log σ(m) + e·log σ(−m)) / (1−2e)  (rDPO, Chowdhury et al. 2024):
  over random flips its expectation is the loss without any.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.algorithm import LearnsFrom, OnStep, RefPolicy
from superalign_training.data import Preference
from superalign_training.sections import Count, Section

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from trl.trainer.dpo_trainer import DPOTrainer

    from superalign_training.algorithms.trl import StepRecorder
    from superalign_training.policy import Policy


PreferenceLoss = Literal["sigmoid", "conservative", "robust"]


class Dpo(Section):
    """Direct preference optimisation on pairs of completions."""

    learns_from: ClassVar[LearnsFrom] = "preferences"
    id: Literal["dpo"] = "dpo"
    loss_type: PreferenceLoss = "sigmoid"
    """Loss of a pair; the latter two allow for pairs that are the wrong way round."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Believed share of pairs that are the wrong way round; above 0 unless sigmoid."""
    beta: PositiveFloat = 0.1
    """How strongly the policy is held near the reference policy."""
    ref_policy: RefPolicy = "round"
    """Reference policy: itself when training began, or its untrained original."""
    sft_weight: NonNegativeFloat = 0.0
    """Weight of the SFT loss on the chosen beside it, which keeps them likely (RPO)."""
    steps: Count = 60
    """Optimiser steps at most."""
    num_train_epochs: PositiveFloat = 4.0
    """Stops earlier once every pair was seen so often."""
    batch_size: Count = 32
    """Pairs in one step."""
    learning_rate: PositiveFloat = 3e-4
    """Constant learning rate of AdamW."""

    @model_validator(mode="after")
    def _flips_fit_the_loss(self) -> Self:
        if (self.loss_type == "sigmoid") != (self.label_smoothing == 0):
            raise ValueError(
                f"loss_type={self.loss_type} with label_smoothing={self.label_smoothing}: sigmoid "
                "takes every pair at its word (0), conservative and robust need a share of "
                "flipped pairs, 0 < label_smoothing < 0.5"
            )
        return self

    def improve(
        self,
        policy: "Policy",
        experience: Sequence[Preference],
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Train a policy in place to prefer the chosen completions to the rejected ones.

        Args:
            policy: changed in place; its optimiser goes on where it stopped.
            experience: at least one pair whose two sides differ.
            seed: of the order of the pairs.
            on_step: called after every optimiser step.

        Returns:
            ``loss_first`` and ``loss`` (means over the first and last tenth), ``margin``
            (β·difference of log-ratios) and ``accuracy`` (share of pairs with a positive
            one) over the last tenth, ``pairs``, ``dropped`` (equal sides), ``steps``.

        Raises:
            InvalidOption: no pairs, only equal sides, an empty side, or weights and losses
                that are not finite.
        """
        from superalign_training.algorithms.fitting import batch_and_steps  # noqa: PLC0415 - torch takes seconds
        from superalign_training.algorithms.trl import StepRecorder, train_and_report  # noqa: PLC0415 - as above

        pairs = differing(experience)
        batch, steps = batch_and_steps(self, len(pairs))
        recorder = StepRecorder(on_step)
        rows = _rows(policy, pairs, self.ref_policy, batch=2 * batch)
        with policy.training(dropout=False):
            dpo_trainer = trainer(
                self, policy, rows, steps=steps, seed=seed, recorder=recorder
            )
            numbers = train_and_report(dpo_trainer, recorder, "margin", "accuracy")
        dropped = len(experience) - len(pairs)
        return {
            "pairs": float(len(pairs)),
            "dropped": float(dropped),
            "steps": float(steps),
            **numbers,
        }


def differing(pairs: Sequence[Preference]) -> list[Preference]:
    """Return the pairs whose two sides differ.

    Raises:
        InvalidOption: there are none, or one lacks a prompt or a side.
    """
    if not pairs:
        raise InvalidOption("there is nothing to prefer; give at least one pair")
    if not all(p.prompt_ids and p.chosen_ids and p.rejected_ids for p in pairs):
        raise InvalidOption(
            "a pair needs a prompt and two completions of at least one token each"
        )
    different = [pair for pair in pairs if pair.chosen_ids != pair.rejected_ids]
    if not different:
        raise InvalidOption(
            "in every pair the chosen equals the rejected; give completions that differ"
        )
    return different


def _rows(
    policy: "Policy", pairs: Sequence[Preference], ref_policy: RefPolicy, *, batch: int
) -> list[dict[str, Any]]:
    """Return the trainer's rows: ids, and the reference log-probs of both sides."""
    from superalign_training.algorithms.logprobs import ref_logprobs  # noqa: PLC0415 - torch takes seconds

    sides = [(pair.prompt_ids, pair.chosen_ids) for pair in pairs]
    sides += [(pair.prompt_ids, pair.rejected_ids) for pair in pairs]
    logprobs = ref_logprobs(policy, ref_policy, sides, batch=batch)
    return [
        {
            "prompt_ids": list(pair.prompt_ids),
            "chosen_ids": list(pair.chosen_ids),
            "rejected_ids": list(pair.rejected_ids),
            "ref_chosen_logps": logprobs[place],
            "ref_rejected_logps": logprobs[len(pairs) + place],
        }
        for place, pair in enumerate(pairs)
    ]


def trainer(
    settings: Dpo,
    policy: "Policy",
    rows: Sequence[dict[str, Any]],
    *,
    steps: int = 1,
    seed: int = 0,
    recorder: "StepRecorder | None" = None,
) -> "DPOTrainer":
    """Return TRL's trainer for tokenised rows with known reference log-probabilities.

    Args:
        settings: of the algorithm.
        policy: in training.
        rows: with ``prompt_ids``, ``chosen_ids``, ``rejected_ids``, ``ref_chosen_logps``
            and ``ref_rejected_logps``.
        steps: optimiser steps.
        seed: of the order of the rows.
        recorder: takes its numbers.
    """
    from trl.trainer.dpo_config import DPOConfig  # noqa: PLC0415 - torch takes seconds
    from trl.trainer.dpo_trainer import DPOTrainer  # noqa: PLC0415 - as above

    from superalign_training.algorithms.trl import make_trainer, tokenised  # noqa: PLC0415 - as above

    losses = _losses(settings)
    return make_trainer(
        tokenised(DPOTrainer),
        DPOConfig,
        model=policy.model,
        tokenizer=policy.tokenizer,
        optimizer=policy.optimizer(settings.learning_rate),
        rows=rows,
        batch_size=min(settings.batch_size, len(rows)),
        steps=steps,
        learning_rate=settings.learning_rate,
        seed=seed,
        recorder=recorder,
        precompute_ref_log_probs=True,
        beta=settings.beta,
        label_smoothing=settings.label_smoothing,
        loss_type=list(losses),
        loss_weights=list(losses.values()),
    )


def _losses(settings: Dpo) -> dict[str, float]:
    """Return TRL's losses and their weights, which add up to ours."""
    e = settings.label_smoothing
    weights: dict[PreferenceLoss, dict[str, float]] = {
        "sigmoid": {"sigmoid": 1.0},
        "robust": {"robust": 1.0},
        # TRL has no cDPO any more. With s = −log σ(m) and t = −log σ(−m) it is (1−e)s + et,
        # which is 2(1−e)·sigmoid − (1−2e)·robust = 2(1−e)s − ((1−e)s − et).
        "conservative": {"sigmoid": 2 * (1 - e), "robust": -(1 - 2 * e)},
    }
    trl_weights = weights[settings.loss_type]
    return (
        {**trl_weights, "sft": settings.sft_weight} if settings.sft_weight else trl_weights
    )
