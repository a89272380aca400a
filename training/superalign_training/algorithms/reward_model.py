"""A reward model on given token ids (TRL's RewardTrainer): Bradley-Terry on preferences.

The policy only lends its body: a copy of it gets a scalar head and is trained, whole. The
loss is −log σ(score of the chosen − score of the rejected) (Christiano et al. 2017), and a
small weight keeps scores around 0 (Eisenstein et al. 2023). What was left out: margins,
adapters, templates, truncation.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from datasets import Dataset
from pydantic import NonNegativeFloat, PositiveFloat
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.algorithm import LearnsFrom
from superalign_training.algorithms.dpo import differing
from superalign_training.algorithms.scorer import Scorer
from superalign_training.algorithms.trainers.arguments import (
    OnStep,
    Recorder,
    constant_schedule,
    first_and_last,
    run,
    shared_arguments,
    steps_within,
)
from superalign_training.experience import Preference
from superalign_training.policy import Policy
from superalign_training.sections import Count, Section


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
        policy: Policy,
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
        scorer = Scorer.of(policy)
        numbers = self.teach(scorer, experience, seed=seed, on_step=on_step)
        sources = sorted({name for pair in experience for name in pair.sources})
        scorer.save(self.folder, sources=sources)
        return numbers

    def teach(
        self,
        scorer: Scorer,
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
        pairs = differing(experience)
        batch = min(self.batch_size, len(pairs))
        steps = steps_within(
            self.steps, self.num_train_epochs, rows=len(pairs), batch=batch
        )
        recorder = Recorder(on_step)
        scorer.model.train(True)
        widened = scorer.model.register_forward_hook(_widen_scores)
        try:
            run(trainer(self, scorer, pairs, steps=steps, seed=seed, recorder=recorder))
        finally:
            widened.remove()
            scorer.model.train(False)
        loss_first, loss = first_and_last(recorder, "loss")
        return {
            "pairs": float(len(pairs)),
            "dropped": float(len(experience) - len(pairs)),
            "steps": float(steps),
            "loss_first": loss_first,
            "loss": loss,
            "accuracy": first_and_last(recorder, "accuracy")[1],
            "margin": first_and_last(recorder, "margin")[1],
        }

    @staticmethod
    def load(folder: Path, *, expected: str = "", device: str = "cpu") -> Scorer:
        """Return the scorer in a folder. See `Scorer.load`."""
        return Scorer.load(folder, expected=expected, device=device)


def _widen_scores(_: Any, __: Any, output: Any) -> None:
    """Turn scores into float32, in which TRL then subtracts them."""
    output.logits = output.logits.float()


def trainer(
    settings: RewardModel,
    scorer: Scorer,
    pairs: Sequence[Preference],
    *,
    steps: int = 1,
    seed: int = 0,
    recorder: Recorder | None = None,
) -> RewardTrainer:
    """Return TRL's trainer for tokenised pairs: it leaves columns of ids alone.

    Args:
        settings: of the algorithm.
        scorer: in training.
        pairs: with differing sides.
        steps: optimiser steps.
        seed: of the order of the pairs.
        recorder: takes its numbers.
    """
    optimizer = scorer.optimizer(settings.learning_rate)
    rows: list[dict[str, Any]] = [
        {
            "chosen_ids": [*pair.prompt_ids, *pair.chosen_ids],
            "rejected_ids": [*pair.prompt_ids, *pair.rejected_ids],
        }
        for pair in pairs
    ]
    return RewardTrainer(
        model=scorer.model,
        args=RewardConfig(
            **shared_arguments(
                steps=steps,
                learning_rate=settings.learning_rate,
                seed=seed,
                device=str(scorer.model.device),
            ),
            per_device_train_batch_size=min(settings.batch_size, len(rows)),
            dataloader_drop_last=True,
            max_length=None,
            center_rewards_coefficient=settings.center_rewards_coefficient or None,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=scorer.tokenizer,
        optimizers=(optimizer, constant_schedule(optimizer)),
        callbacks=[recorder or Recorder(None)],
    )
