"""TRL's SFTTrainer on tokenised examples."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.algorithm import OnStep
from superalign_training.algorithms.sft import Sft
from superalign_training.algorithms.trainers.arguments import (
    Recorder,
    constant_schedule,
    run,
    shared_arguments,
    steps_within,
)
from superalign_training.data import Example
from superalign_training.policy import Policy


def imitate(
    policy: Policy,
    examples: Sequence[Example],
    settings: Sft,
    *,
    seed: int,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Fine-tune a policy in place; see `Sft.improve`."""
    if not examples:
        raise InvalidOption("there is nothing to imitate; give at least one example")
    if not all(example.prompt_ids and example.completion_ids for example in examples):
        raise InvalidOption(
            "an example needs a prompt and a completion of at least one token"
        )
    device = str(policy.model.device)
    batch = min(settings.batch_size, len(examples))
    steps = steps_within(
        settings.steps, settings.num_train_epochs, rows=len(examples), batch=batch
    )
    optimizer = policy.optimizer(settings.learning_rate)
    recorder = Recorder(on_step)
    with policy.training() as model:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                **shared_arguments(
                    steps=steps,
                    learning_rate=settings.learning_rate,
                    seed=seed,
                    device=device,
                ),
                per_device_train_batch_size=batch,
                dataset_kwargs={"skip_prepare_dataset": True},
                max_length=None,
                dataloader_drop_last=True,
            ),
            train_dataset=Dataset.from_list([_features(example) for example in examples]),
            processing_class=policy.tokenizer,
            optimizers=(optimizer, constant_schedule(optimizer)),
            callbacks=[recorder],
        )
        run(trainer)
    tenth = max(1, steps // 10)
    first = [numbers["loss"] for numbers in recorder.history[:tenth]]
    return {
        "examples": float(len(examples)),
        "steps": float(steps),
        "loss_first": sum(first) / len(first),
        "loss": recorder.mean("loss", last=tenth) or 0.0,
    }


def _features(example: Example) -> dict[str, Any]:
    prompt, completion = list(example.prompt_ids), list(example.completion_ids)
    return {"input_ids": prompt + completion, "labels": [-100] * len(prompt) + completion}
