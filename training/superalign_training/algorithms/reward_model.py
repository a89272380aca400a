"""A reward model on given token ids (TRL's RewardTrainer): Bradley-Terry on preferences.

The policy only lends its body: a copy of it gets a scalar head and is trained, whole. The
loss is −log σ(score of the chosen − score of the rejected) (Christiano et al. 2017), and a
small weight keeps scores around 0 (Eisenstein et al. 2023). What was left out: margins,
adapters, templates, truncation.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveFloat

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.algorithm import LearnsFrom, OnStep
from superalign_training.data import Preference
from superalign_training.sections import Count, Section

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from superalign_training.algorithms.scorer import Scorer
    from superalign_training.policy import Policy


class RewardModel(Section):
    """A reward model: how a scorer learns what is preferred."""

    learns_from: ClassVar[LearnsFrom] = "preferences"
    keeps_policy: ClassVar[str] = "it lends its body to a scorer, which is trained instead"
    id: Literal["reward-model"] = "reward-model"
    folder: Path | None = None
    """Where `improve` leaves the scorer."""
    center_rewards_coefficient: NonNegativeFloat = 0.01
    """Weight of keeping scores around 0."""
    steps: Count = 120
    """Optimiser steps at most."""
    num_train_epochs: PositiveFloat = 8.0
    """Stops earlier once every pair was seen so often."""
    batch_size: Count = 32
    """Pairs in one step."""
    learning_rate: PositiveFloat = 1e-3
    """Constant learning rate of AdamW."""

    def improve(
        self,
        policy: "Policy",
        experience: Sequence[Preference],
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Train a scorer with a copy of the policy's body, and leave it in `folder`.

        Args:
            policy: stays as it is.
            experience: at least one pair whose two sides differ.
            seed: of the order of the pairs.
            on_step: called after every optimiser step.

        Returns:
            What `teach` returns.

        Raises:
            InvalidOption: no folder, no usable pairs, or a body that cannot be scored with.
        """
        if self.folder is None:
            raise InvalidOption("a reward model needs a place to lie: set its folder")
        from superalign_training.algorithms.scorer import Scorer  # noqa: PLC0415 - torch takes seconds

        scorer = Scorer.of(policy)
        numbers = self.teach(scorer, experience, seed=seed, on_step=on_step)
        sources = sorted({name for pair in experience for name in pair.sources})
        scorer.save(self.folder, sources=sources)
        return numbers

    def teach(
        self,
        scorer: "Scorer",
        experience: Sequence[Preference],
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Train a scorer in place; its optimiser goes on where it stopped.

        Args:
            scorer: new (`Scorer.of`), or trained before.
            experience: at least one pair whose two sides differ.
            seed: of the order of the pairs.
            on_step: called after every optimiser step.

        Returns:
            ``loss_first`` and ``loss`` (means over the first and last tenth), ``accuracy``
            and ``margin`` (of scores) over the last tenth, ``pairs``, ``dropped``, ``steps``.

        Raises:
            InvalidOption: no pairs, only equal sides, an empty side, or losses that are not
                finite.
        """
        from superalign_training.algorithms.trainers.reward_trainer import fit  # noqa: PLC0415 - torch takes seconds

        return fit(self, scorer, experience, seed=seed, on_step=on_step)

    @staticmethod
    def load(folder: Path, *, expected: str = "", device: str = "cpu") -> "Scorer":
        """Return the scorer in a folder. See `Scorer.load`."""
        from superalign_training.algorithms.scorer import Scorer  # noqa: PLC0415 - torch takes seconds

        return Scorer.load(folder, expected=expected, device=device)
