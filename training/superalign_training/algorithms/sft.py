"""Supervised fine-tuning on given token ids (TRL's SFTTrainer).

Rows come tokenised: prompt ids without loss, completion ids with it. What was left out:
packing, templates, evaluation; rows are short and were recorded or made by the policy's
own tokenizer.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveFloat

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.algorithm import LearnsFrom, OnStep
from superalign_training.data import Example
from superalign_training.sections import Count, Section

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from superalign_training.policy import Policy


class Sft(Section):
    """Supervised fine-tuning on prompts and completions."""

    learns_from: ClassVar[LearnsFrom] = "examples"
    id: Literal["sft"] = "sft"
    steps: Count = 60
    """Optimiser steps at most."""
    num_train_epochs: PositiveFloat = 8.0
    """Passes over the rows at most, so that few rows are not memorised."""
    batch_size: Count = 32
    """Rows in one step."""
    learning_rate: PositiveFloat = 1e-3
    """Constant learning rate of AdamW."""

    def improve(
        self,
        policy: "Policy",
        experience: Sequence[Example],
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Fine-tune a policy in place to say the completions.

        Args:
            policy: changed in place; its optimiser goes on where it stopped.
            experience: at least one example.
            seed: of the order of the rows.
            on_step: called after every optimiser step.

        Returns:
            ``loss_first`` and ``loss`` (means over the first and last tenth),
            ``examples``, ``steps``.

        Raises:
            InvalidOption: no examples, or one without a prompt or a completion.
        """
        if not experience:
            raise InvalidOption("there is nothing to imitate; give at least one example")
        if not all(example.prompt_ids and example.completion_ids for example in experience):
            raise InvalidOption(
                "an example needs a prompt and a completion of at least one token"
            )
        from trl.trainer.sft_config import SFTConfig  # noqa: PLC0415 - torch takes seconds
        from trl.trainer.sft_trainer import SFTTrainer  # noqa: PLC0415 - as above

        from superalign_training.algorithms import trl  # noqa: PLC0415 - as above
        from superalign_training.algorithms.fitting import batch_and_steps  # noqa: PLC0415 - as above

        batch, steps = batch_and_steps(self, len(experience))
        recorder = trl.StepRecorder(on_step)
        with policy.training() as model:
            sft_trainer = trl.make_trainer(
                SFTTrainer,
                SFTConfig,
                model=model,
                tokenizer=policy.tokenizer,
                optimizer=policy.optimizer(self.learning_rate),
                rows=[_features(example) for example in experience],
                batch_size=batch,
                steps=steps,
                learning_rate=self.learning_rate,
                seed=seed,
                recorder=recorder,
                dataset_kwargs={"skip_prepare_dataset": True},
            )
            numbers = trl.train_and_report(sft_trainer, recorder)
        return {"examples": float(len(experience)), "steps": float(steps), **numbers}


def _features(example: Example) -> dict[str, Any]:
    prompt, completion = list(example.prompt_ids), list(example.completion_ids)
    return {"input_ids": prompt + completion, "labels": [-100] * len(prompt) + completion}
