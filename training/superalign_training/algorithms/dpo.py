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
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from superalign_training.algorithms.algorithm import LearnsFrom, OnStep, RefPolicy
from superalign_training.data import Preference
from superalign_training.sections import Count, Section

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from superalign_training.policy import Policy


PreferenceLoss = Literal["sigmoid", "conservative", "robust"]


class Dpo(Section):
    """Direct preference optimisation: how a policy learns which of two is better said."""

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
        """Train a policy in place to find the chosen likelier than the rejected.

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
        from superalign_training.algorithms.trainers.dpo_trainer import fit  # noqa: PLC0415 - torch takes seconds

        return fit(self, policy, experience, seed=seed, on_step=on_step)
