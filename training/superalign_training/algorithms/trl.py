"""Arguments, metrics and loop of TRL's trainers; nothing else uses `trl`'s Trainer.

Settings follow what was measured on this stack: no autocast and no checkpoints of its own,
a constant learning rate (a trainer is rebuilt for every round), no output of any kind.
"""

import gc
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback

from superalign_env.errors import InvalidOption
from superalign_env.store import declare
from superalign_training.algorithms.algorithm import OnStep
from superalign_training.policy import MasterAdamW

TrainerT = TypeVar("TrainerT")


# Computed by TRL's trainers alone; see `_LOGGED`.
declare("train/mean_token_accuracy", "Token accuracy", unit="share", better="higher")
declare("train/accuracy", "Pairs in the right order", unit="share", better="higher")
declare("train/margin", "Margin of the chosen over the rejected", better="higher")
declare("train/rewards/chosen", "Implicit reward of the chosen")
declare("train/rewards/rejected", "Implicit reward of the rejected")

_LOGGED = {
    **{
        name: name
        for name in (
            *("loss", "policy_loss", "grad_norm", "learning_rate", "entropy", "kl"),
            *("reward", "frac_reward_zero_std", "accuracy", "margin"),
            *("mean_token_accuracy", "rewards/chosen", "rewards/rejected"),
        )
    },
    "clip_ratio/region_mean": "clip_fraction",
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
}
"""Number that a TRL trainer logs → its name. Clocks and counts of tokens are left out: a
stage that is done again ends with the same numbers."""


def shared_arguments(
    *, steps: int, learning_rate: float, seed: int, device: str
) -> dict[str, Any]:
    """Return the arguments that every trainer gets.

    Args:
        steps: optimiser steps.
        learning_rate: constant learning rate.
        seed: another one for every round: building a trainer resets all global random
            states to it.
        device: ``cpu`` or a CUDA device.
    """
    on_cpu = device == "cpu"
    return {
        "output_dir": tempfile.gettempdir(),  # must exist; nothing is ever saved there
        "max_steps": steps,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "constant",
        "gradient_accumulation_steps": 1,
        "max_grad_norm": 1.0,
        "seed": seed & 0x7FFFFFFF,
        "use_cpu": on_cpu,
        # Autocast would compute with other numbers than the rollout did: log-probs of what
        # was said would differ from those recorded. The model's own dtype decides alone.
        "bf16": False,
        "activation_checkpointing": False,
        "report_to": [],
        "logging_strategy": "steps",
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": not on_cpu,
    }


@contextmanager
def upstream_noise_hidden() -> Iterator[None]:
    """Hide warnings of one library about another's use of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        yield


def constant_schedule(optimizer: Any) -> Any:
    """Return a schedule with a constant learning rate."""
    return LambdaLR(optimizer, lambda _: 1.0)


def run(trainer: Any) -> None:
    """Run a trainer without its own printing."""
    trainer.remove_callback(PrinterCallback)
    # Training begins with a collection of garbage. What the libraries consist of is none,
    # and looking through it takes longer than several steps of a small model.
    gc.freeze()
    try:
        with upstream_noise_hidden():
            trainer.train()
    finally:
        gc.unfreeze()


class StepRecorder(TrainerCallback):
    """Callback that keeps a trainer's metrics and passes them on.

    Args:
        on_step: called after every optimiser step.
    """

    def __init__(self, on_step: OnStep | None) -> None:
        self.history: list[dict[str, float]] = []
        self._on_step = on_step

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Record one step's metrics; the final summary has no loss of its own."""
        if not logs or "loss" not in logs:
            return
        numbers = {
            _LOGGED[key]: float(value)
            for key, value in logs.items()
            if key in _LOGGED and _is_number(value)
        }
        self.history.append(numbers)
        if self._on_step is not None:
            self._on_step(state.global_step, numbers)

    def mean(self, key: str, *, last: int = 0) -> float | None:
        """Return the mean of a number over all, or the last, steps."""
        values = [numbers[key] for numbers in self.history[-last:] if key in numbers]
        return sum(values) / len(values) if values else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def first_and_last(recorder: StepRecorder, key: str) -> tuple[float, float]:
    """Return the means of a number over the first and the last tenth of the steps.

    Raises:
        InvalidOption: it is not finite somewhere.
    """
    values = [numbers[key] for numbers in recorder.history if key in numbers]
    for step, value in enumerate(values, start=1):
        if not math.isfinite(value):
            raise InvalidOption(
                f"the {key} was {value} at step {step}: the policy in memory is spoiled (its "
                "last checkpoint is not); lower learning_rate, or look for broken weights"
            )
    if not values:
        raise InvalidOption(f"no step reported its {key}; raise the number of steps")
    tenth = max(1, len(values) // 10)
    return sum(values[:tenth]) / tenth, sum(values[-tenth:]) / tenth


def train_and_report(trainer: Any, recorder: StepRecorder, *names: str) -> dict[str, float]:
    """Train, and return ``loss_first``, ``loss``, and other numbers over the last tenth.

    Raises:
        InvalidOption: one of them is not finite.
    """
    run(trainer)
    loss_first, loss = first_and_last(recorder, "loss")
    means = {name: first_and_last(recorder, name)[1] for name in names}
    return {"loss_first": loss_first, "loss": loss, **means}


def make_trainer(  # noqa: PLR0913 - what a trainer is made of; all but two are keywords
    trainer: Callable[..., TrainerT],
    config: Callable[..., Any],
    *,
    model: Any,
    tokenizer: Any,
    optimizer: MasterAdamW,
    rows: Sequence[Mapping[str, Any]],
    batch_size: int,
    steps: int,
    learning_rate: float,
    seed: int,
    recorder: StepRecorder | None,
    **options: Any,
) -> TrainerT:
    """Return a TRL trainer for rows of ids.

    Args:
        trainer: TRL's class, or a `tokenised` one.
        config: TRL's class of its settings.
        model: in training.
        tokenizer: belongs to it.
        optimizer: goes on where it stopped.
        rows: columns of ids, and whatever else the trainer reads.
        batch_size: rows of one step.
        steps: optimiser steps.
        learning_rate: constant.
        seed: of the order of the rows.
        recorder: takes its numbers.
        **options: further settings of TRL's.
    """
    arguments = shared_arguments(
        steps=steps, learning_rate=learning_rate, seed=seed, device=str(model.device)
    )
    return trainer(
        model=model,
        args=config(
            **arguments,
            per_device_train_batch_size=batch_size,
            dataloader_drop_last=True,
            max_length=None,
            **options,
        ),
        train_dataset=Dataset.from_list([dict(row) for row in rows]),
        processing_class=tokenizer,
        optimizers=(optimizer, constant_schedule(optimizer)),
        callbacks=[recorder or StepRecorder(None)],
    )


def tokenised(trainer: type[TrainerT]) -> type[TrainerT]:
    """Return a TRL trainer that takes rows of ids as they are, reference log-probs included."""
    return type(f"Tokenised{trainer.__name__}", (_Tokenised, trainer), {})


class _Tokenised:
    """Mixin of a TRL trainer on rows of ids.

    TRL would tokenise them, and find no text to tokenise; and it would score them with a
    reference model that it loads itself.
    """

    def _prepare_dataset(self, dataset: Any, *rest: Any, **options: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *rest: Any, **options: Any) -> Any:
        return dataset
