"""Weak-to-strong training: a student learns from labels of weaker supervisors.

naive             cross-entropy on the labels, as `Sft`, at a fraction of its CPU seconds
confidence        mixed with the student's own hardened answer (Burns et al. 2023), whose
                  weight rises linearly to `aux_coef` during warm-up
confident-only    labels of sources that are sure enough; after warm-up of them only the
                  share of the smallest losses (small-loss selection, Han et al.
                  2018)

Few steps matter more than the method: the student first says what it knows already, and
only then learns its teacher's mistakes. Several supervisors are combined, and critics
asked, before examples come here (`Example.sources`, `Example.confidence`).

What was left out: Burns et al.'s unsupervised finetuning and early stopping by the truth.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat

from superalign_training.algorithms.algorithm import LearnsFrom, OnStep
from superalign_training.data import Example
from superalign_training.sections import Count, Section, Share

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from superalign_training.policy import Policy


Method = Literal["naive", "confidence", "confident-only"]


class WeakToStrongTraining(Section):
    """Training of a student on the labels of weaker supervisors."""

    learns_from: ClassVar[LearnsFrom] = "examples"
    id: Literal["weak-to-strong"] = "weak-to-strong"
    method: Method = "naive"
    """``naive``, ``confidence`` (own hardened answers count, too) or ``confident-only``."""
    steps: Count = 30
    """Optimiser steps at most; more of them copy more of the supervisors' mistakes."""
    num_train_epochs: PositiveFloat = 8.0
    """Stops earlier once every example was seen so often."""
    batch_size: Count = 32
    """Examples in one step."""
    learning_rate: PositiveFloat = 3e-4
    """Learning rate of AdamW; it falls linearly to 0."""
    aux_coef: Share = 0.5
    """Of own answers, in ``confidence``, after warm-up."""
    warmup_frac: Share = 0.2
    """Share of the steps before own answers have their full weight (``confidence``), or
    before examples of large losses are left out (``confident-only``)."""
    refresh_steps: Count = 5
    """Steps for which own answers of several words are decoded at once; one-word answers
    are read anew in every step."""
    min_confidence: Share = 0.0
    """Least confidence of the sources of an example, in ``confident-only``."""
    keep_share: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Share of examples that is left after warm-up, in ``confident-only``: of one-word
    answers the same share of each."""
    soft_labels: bool = False
    """Whether a label counts as much as its sources are sure: a one-word label leaves the
    rest to the other words, a longer one just weighs less."""

    def improve(
        self,
        policy: "Policy",
        experience: Sequence[Example],
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Train a policy in place.

        Args:
            policy: changed in place; its optimiser goes on where it stopped.
            experience: examples, at least one.
            seed: of the order of the examples.
            on_step: called after every optimiser step.

        Returns:
            ``loss_first`` and ``loss`` (means over the first and last tenth), ``steps``,
            ``examples`` (examples given), ``kept`` (share of them taught to the end).

        Raises:
            InvalidOption: no examples, one without a prompt or a completion, or none that
                its sources are sure enough of.
        """
        from superalign_training.algorithms.weak_to_strong_loss import improve  # noqa: PLC0415 - torch takes seconds

        return improve(self, policy, experience, seed=seed, on_step=on_step)
