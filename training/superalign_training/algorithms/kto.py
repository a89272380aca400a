"""Kahneman-Tversky optimisation on given token ids (TRL's KTOTrainer).

Learns from opinions about single completions (Ethayarajh et al. 2024, eq. 7 and 8). Rows
come tokenised, with the reference log-probs beside them. What was left out: the
APO loss, templates, truncation, evaluation; and TRL's way of making batches, which are the
same in every pass: the divergence is estimated from completions that change places within
a batch, so all batches are laid out, and every mismatched pair is scored, before training.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveFloat

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.algorithm import LearnsFrom, OnStep, RefPolicy
from superalign_training.data import Opinion
from superalign_training.sections import Count, Plural, Section

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from superalign_training.policy import Policy


class Kto(Section):
    """Kahneman-Tversky optimisation: how a policy learns what was well said and what not."""

    learns_from: ClassVar[LearnsFrom] = "opinions"
    id: Literal["kto"] = "kto"
    beta: PositiveFloat = 0.1
    """How strongly the policy is held near the reference policy."""
    ref_policy: RefPolicy = "round"
    """Reference policy: itself when training began, or its untrained original."""
    balance: bool = True
    """Whether good and bad opinions weigh the same in total, however many there are."""
    desirable_weight: PositiveFloat = 1.0
    """Weight of a good opinion, on top of the balance."""
    undesirable_weight: PositiveFloat = 1.0
    """Weight of a bad opinion, on top of the balance."""
    steps: Count = 60
    """Optimiser steps at most."""
    num_train_epochs: PositiveFloat = 4.0
    """Stops earlier once every opinion was seen so often."""
    batch_size: Plural = 32
    """Opinions in one step; the divergence is estimated within them."""
    learning_rate: PositiveFloat = 3e-4
    """Constant learning rate of AdamW."""

    def improve(
        self,
        policy: "Policy",
        experience: Sequence[Opinion],
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Train a policy in place to say what was found good and not what was found bad.

        Args:
            policy: changed in place; its optimiser goes on where it stopped.
            experience: at least one good and one bad opinion.
            seed: of the batches.
            on_step: called after every optimiser step.

        Returns:
            ``loss_first`` and ``loss`` (means over the first and last tenth), ``kl`` from
            the reference over the last tenth, ``opinions``, ``good`` among them, ``steps``.

        Raises:
            InvalidOption: no opinions or only one kind, one without a prompt or a
                completion, or weights and losses that are not finite.
        """
        from superalign_training.algorithms.trainers.kto_trainer import fit  # noqa: PLC0415 - torch takes seconds

        return fit(self, policy, experience, seed=seed, on_step=on_step)

    def weights(self, opinions: Sequence[Opinion]) -> tuple[float, float]:
        """Return the weights of a good and of a bad opinion; on average they are 1.

        Raises:
            InvalidOption: no opinions or only one kind, or an empty prompt or completion.
        """
        if not opinions:
            raise InvalidOption("nobody has an opinion; give good and bad ones")
        if not all(one.prompt_ids and one.completion_ids for one in opinions):
            raise InvalidOption(
                "an opinion needs a prompt and a completion of at least one token"
            )
        good = sum(one.good for one in opinions)
        bad = len(opinions) - good
        if not good or not bad:
            kind = "good" if good else "bad"
            raise InvalidOption(
                f"all {len(opinions)} opinions are {kind}: there is nothing to tell apart; "
                "give both kinds (sft learns from good ones alone)"
            )
        if not self.balance:
            return self.desirable_weight, self.undesirable_weight
        half = len(opinions) / 2
        return self.desirable_weight * half / good, self.undesirable_weight * half / bad
