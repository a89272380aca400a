"""A reward model on given token ids (TRL's RewardTrainer): Bradley-Terry on preferences.

The policy only lends its body: a copy of it gets a scalar head and is trained, whole. The
loss is −log σ(score of the chosen − score of the rejected) (Christiano et al. 2017), and a
small weight keeps scores around 0 (Eisenstein et al. 2023). What was left out: margins,
adapters, templates, truncation.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveFloat

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.algorithm import LearnsFrom, OnStep
from superalign_training.algorithms.dpo import differing
from superalign_training.data import Preference
from superalign_training.sections import Count, Section

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from trl.trainer.reward_trainer import RewardTrainer

    from superalign_training.algorithms.trained_reward_model import TrainedRewardModel
    from superalign_training.algorithms.trl import StepRecorder
    from superalign_training.policy import Policy


class RewardModel(Section):
    """Training of a reward model on preferences."""

    learns_from: ClassVar[LearnsFrom] = "preferences"
    keeps_policy: ClassVar[str] = (
        "it lends its body to a reward model, which is trained instead"
    )
    id: Literal["reward-model"] = "reward-model"
    folder: Path | None = None
    """Where `improve` leaves the reward model."""
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
        """Train a reward model with a copy of the policy's body, and save it in `folder`.

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
        from superalign_training.algorithms.trained_reward_model import TrainedRewardModel  # noqa: PLC0415 - torch takes seconds

        trained = TrainedRewardModel.of(policy)
        numbers = self.teach(trained, experience, seed=seed, on_step=on_step)
        sources = sorted({name for pair in experience for name in pair.sources})
        trained.save(self.folder, sources=sources)
        return numbers

    def teach(
        self,
        trained: "TrainedRewardModel",
        experience: Sequence[Preference],
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Train a reward model in place, with the moments of its optimiser.

        Args:
            trained: new (`TrainedRewardModel.of`), or trained before.
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
        from superalign_training.algorithms.fitting import batch_and_steps  # noqa: PLC0415 - torch takes seconds
        from superalign_training.algorithms.trl import StepRecorder, train_and_report  # noqa: PLC0415 - as above

        pairs = differing(experience)
        _, steps = batch_and_steps(self, len(pairs))
        recorder = StepRecorder(on_step)
        trained.model.train(True)
        widened = trained.model.register_forward_hook(_widen_scores)
        try:
            reward_trainer = trainer(
                self, trained, pairs, steps=steps, seed=seed, recorder=recorder
            )
            numbers = train_and_report(reward_trainer, recorder, "accuracy", "margin")
        finally:
            widened.remove()
            trained.model.train(False)
        dropped = len(experience) - len(pairs)
        return {
            "pairs": float(len(pairs)),
            "dropped": float(dropped),
            "steps": float(steps),
            **numbers,
        }

    @staticmethod
    def load(
        folder: Path, *, expected: str = "", device: str = "cpu"
    ) -> "TrainedRewardModel":
        """Return the reward model in a folder. See `TrainedRewardModel.load`."""
        from superalign_training.algorithms.trained_reward_model import TrainedRewardModel  # noqa: PLC0415 - torch takes seconds

        return TrainedRewardModel.load(folder, expected=expected, device=device)


def _widen_scores(_: Any, __: Any, output: Any) -> None:
    """Cast scores to float32 before TRL subtracts them."""
    output.logits = output.logits.float()


def trainer(
    settings: RewardModel,
    trained: "TrainedRewardModel",
    pairs: Sequence[Preference],
    *,
    steps: int = 1,
    seed: int = 0,
    recorder: "StepRecorder | None" = None,
) -> "RewardTrainer":
    """Return TRL's RewardTrainer for pairs of token ids.

    Args:
        settings: of the algorithm.
        trained: in training.
        pairs: with differing sides.
        steps: optimiser steps.
        seed: of the order of the pairs.
        recorder: takes its numbers.
    """
    from trl.trainer.reward_config import RewardConfig  # noqa: PLC0415 - torch takes seconds
    from trl.trainer.reward_trainer import RewardTrainer  # noqa: PLC0415 - as above

    from superalign_training.algorithms.trl import make_trainer  # noqa: PLC0415 - as above

    return make_trainer(
        RewardTrainer,
        RewardConfig,
        model=trained.model,
        tokenizer=trained.tokenizer,
        optimizer=trained.optimizer(settings.learning_rate),
        rows=[
            {
                "chosen_ids": [*pair.prompt_ids, *pair.chosen_ids],
                "rejected_ids": [*pair.prompt_ids, *pair.rejected_ids],
            }
            for pair in pairs
        ],
        batch_size=min(settings.batch_size, len(pairs)),
        steps=steps,
        learning_rate=settings.learning_rate,
        seed=seed,
        recorder=recorder,
        center_rewards_coefficient=settings.center_rewards_coefficient or None,
    )
