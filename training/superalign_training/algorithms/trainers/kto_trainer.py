"""TRL's KTOTrainer on tokenised opinions whose reference log-probs are known."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from superalign_env.seeding import generator
from superalign_training.algorithms.algorithm import OnStep, RefPolicy
from superalign_training.algorithms.kto import Kto
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
from superalign_training.data import Opinion
from superalign_training.policy import Policy


def fit(
    settings: Kto,
    policy: Policy,
    experience: Sequence[Opinion],
    *,
    seed: int,
    on_step: OnStep | None,
) -> dict[str, float]:
    """Train a policy in place; see `Kto.improve`."""
    opinions = list(experience)
    weights = settings.weights(opinions)
    batch = min(settings.batch_size, len(opinions))
    steps = steps_within(
        settings.steps, settings.num_train_epochs, rows=len(opinions), batch=batch
    )
    places = in_passes(len(opinions), steps * batch, key=policy.seed(seed))
    rows = _rows(policy, [opinions[place] for place in places], settings, batch)
    recorder = Recorder(on_step)
    with policy.training(dropout=False):
        made = trainer(
            settings, policy, rows, weights, batch=batch, seed=seed, recorder=recorder
        )
        run(made)
    loss_first, loss = first_and_last(recorder, "loss")
    return {
        "opinions": float(len(opinions)),
        "good": float(sum(opinion.good for opinion in opinions)),
        "steps": float(steps),
        "loss_first": loss_first,
        "loss": loss,
        "kl": first_and_last(recorder, "kl")[1],
    }


def in_passes(count: int, wanted: int, *, key: int) -> list[int]:
    """Return places in a list, pass after pass, each in an order of its own."""
    rng = generator(key)
    places: list[int] = []
    while len(places) < wanted:
        places += rng.permutation(count).tolist()
    return places[:wanted]


def _rows(
    policy: Policy, opinions: Sequence[Opinion], settings: Kto, batch: int
) -> list[dict[str, Any]]:
    """Return what the trainer reads, batch after batch.

    Within a batch each completion is also put after the next prompt: how much likelier the
    policy finds those than the reference does estimates its divergence. Of a completion that is
    too long for the context there, only the beginning is.
    """
    before = [
        opinions[place - 1 if place % batch else place + batch - 1]
        for place in range(len(opinions))
    ]
    elsewhere = [
        other.completion_ids[: max(1, policy.agent.max_context - len(one.prompt_ids))]
        for one, other in zip(opinions, before, strict=True)
    ]
    said = [(one.prompt_ids, one.completion_ids) for one in opinions]
    said += [(one.prompt_ids, ids) for one, ids in zip(opinions, elsewhere, strict=True)]
    known = _each_once(policy, said, settings.ref_policy, batch)
    return [
        {
            "prompt_ids": list(one.prompt_ids),
            "completion_ids": list(one.completion_ids),
            "KL_completion_ids": list(ids),
            "label": one.good,
            "ref_logps": known[place],
            "ref_KL_logps": known[len(opinions) + place],
        }
        for place, (one, ids) in enumerate(zip(opinions, elsewhere, strict=True))
    ]


def _each_once(
    policy: Policy, said: Sequence[tuple[Any, Any]], ref_policy: RefPolicy, batch: int
) -> list[float]:
    """Return reference log-probs; what stands there often is scored once."""
    different = list(dict.fromkeys(said))
    found = ref_logprobs(policy, ref_policy, different, batch=2 * batch)
    known = dict(zip(different, found, strict=True))
    return [known[one] for one in said]


def trainer(
    settings: Kto,
    policy: Policy,
    rows: Sequence[dict[str, Any]],
    weights: tuple[float, float],
    *,
    batch: int,
    seed: int = 0,
    recorder: Recorder | None = None,
) -> KTOTrainer:
    """Return TRL's trainer for tokenised rows with known reference log-probabilities.

    Args:
        settings: of the algorithm.
        policy: in training.
        rows: batch after batch, as many as shall be trained on.
        weights: of a good and of a bad opinion.
        batch: rows in one step.
        seed: of whatever else is random.
        recorder: takes its numbers.
    """
    optimizer = policy.optimizer(settings.learning_rate)
    return _Trainer(
        model=policy.model,
        args=KTOConfig(
            **shared_arguments(
                steps=len(rows) // batch,
                learning_rate=settings.learning_rate,
                seed=seed,
                device=str(policy.model.device),
            ),
            per_device_train_batch_size=batch,
            max_length=None,
            precompute_ref_log_probs=True,
            beta=settings.beta,
            desirable_weight=weights[0],
            undesirable_weight=weights[1],
        ),
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=policy.tokenizer,
        optimizers=(optimizer, constant_schedule(optimizer)),
        callbacks=[recorder or Recorder(None)],
    )


class _Trainer(Tokenised, KTOTrainer):
    """TRL's trainer on rows of ids."""
