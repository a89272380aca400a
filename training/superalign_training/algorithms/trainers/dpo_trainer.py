"""TRL's DPOTrainer on tokenised pairs whose reference log-probs are known."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.algorithm import OnStep, RefPolicy
from superalign_training.algorithms.dpo import Dpo, PreferenceLoss
from superalign_training.algorithms.trainers.arguments import (
    Recorder,
    Tokenised,
    constant_schedule,
    first_and_last,
    run,
    shared_arguments,
    steps_within,
)
from superalign_training.algorithms.updates.ref_policy import ref_logprobs
from superalign_training.data import Preference
from superalign_training.policy import Policy


def fit(
    settings: Dpo,
    policy: Policy,
    experience: Sequence[Preference],
    *,
    seed: int,
    on_step: OnStep | None,
) -> dict[str, float]:
    """Train a policy in place; see `Dpo.improve`."""
    pairs = differing(experience)
    batch = min(settings.batch_size, len(pairs))
    steps = steps_within(
        settings.steps, settings.num_train_epochs, rows=len(pairs), batch=batch
    )
    recorder = Recorder(on_step)
    rows = _rows(policy, pairs, settings.ref_policy, batch=2 * batch)
    with policy.training(dropout=False):
        run(trainer(settings, policy, rows, steps=steps, seed=seed, recorder=recorder))
    loss_first, loss = first_and_last(recorder, "loss")
    return {
        "pairs": float(len(pairs)),
        "dropped": float(len(experience) - len(pairs)),
        "steps": float(steps),
        "loss_first": loss_first,
        "loss": loss,
        "margin": first_and_last(recorder, "margin")[1],
        "accuracy": first_and_last(recorder, "accuracy")[1],
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
    found = [pair for pair in pairs if pair.chosen_ids != pair.rejected_ids]
    if not found:
        raise InvalidOption(
            "in every pair the chosen equals the rejected; give completions that differ"
        )
    return found


def _rows(
    policy: Policy, pairs: Sequence[Preference], ref_policy: RefPolicy, *, batch: int
) -> list[dict[str, Any]]:
    """Return what the trainer reads: ids, and the reference log-probs of both sides."""
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
    policy: Policy,
    rows: Sequence[dict[str, Any]],
    *,
    steps: int = 1,
    seed: int = 0,
    recorder: Recorder | None = None,
) -> DPOTrainer:
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
    optimizer = policy.optimizer(settings.learning_rate)
    losses = _losses(settings)
    return _Trainer(
        model=policy.model,
        args=DPOConfig(
            **shared_arguments(
                steps=steps,
                learning_rate=settings.learning_rate,
                seed=seed,
                device=str(policy.model.device),
            ),
            per_device_train_batch_size=min(settings.batch_size, len(rows)),
            dataloader_drop_last=True,
            max_length=None,
            precompute_ref_log_probs=True,
            beta=settings.beta,
            label_smoothing=settings.label_smoothing,
            loss_type=list(losses),
            loss_weights=list(losses.values()),
        ),
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=policy.tokenizer,
        optimizers=(optimizer, constant_schedule(optimizer)),
        callbacks=[recorder or Recorder(None)],
    )


def _losses(settings: Dpo) -> dict[str, float]:
    """Return TRL's losses and their weights, which add up to ours."""
    e = settings.label_smoothing
    named: dict[PreferenceLoss, dict[str, float]] = {
        "sigmoid": {"sigmoid": 1.0},
        "robust": {"robust": 1.0},
        # TRL has no cDPO any more. With s = −log σ(m) and t = −log σ(−m) it is (1−e)s + et,
        # which is 2(1−e)·sigmoid − (1−2e)·robust = 2(1−e)s − ((1−e)s − et).
        "conservative": {"sigmoid": 2 * (1 - e), "robust": -(1 - 2 * e)},
    }
    chosen = named[settings.loss_type]
    return {**chosen, "sft": settings.sft_weight} if settings.sft_weight else chosen


class _Trainer(Tokenised, DPOTrainer):
    """TRL's trainer on rows of ids."""
