"""TRL's RewardTrainer on tokenised pairs."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from superalign_training.algorithms.algorithm import OnStep
from superalign_training.algorithms.reward_model import RewardModel
from superalign_training.algorithms.scorer import Scorer
from superalign_training.algorithms.trainers.arguments import (
    Recorder,
    constant_schedule,
    first_and_last,
    run,
    shared_arguments,
    steps_within,
)
from superalign_training.algorithms.trainers.dpo_trainer import differing
from superalign_training.data import Preference


def fit(
    settings: RewardModel,
    scorer: Scorer,
    experience: Sequence[Preference],
    *,
    seed: int,
    on_step: OnStep | None,
) -> dict[str, float]:
    """Train a scorer in place; see `RewardModel.teach`."""
    pairs = differing(experience)
    batch = min(settings.batch_size, len(pairs))
    steps = steps_within(
        settings.steps, settings.num_train_epochs, rows=len(pairs), batch=batch
    )
    recorder = Recorder(on_step)
    scorer.model.train(True)
    widened = scorer.model.register_forward_hook(_widen_scores)
    try:
        run(trainer(settings, scorer, pairs, steps=steps, seed=seed, recorder=recorder))
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
