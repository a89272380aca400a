"""Kahneman-Tversky optimisation on given token ids (TRL's KTOTrainer).

Learns from unpaired preferences: single completions, good or bad (Ethayarajh et al. 2024, eq. 7 and 8). Rows
come tokenised, with the reference log-probs beside them. What was left out: the
APO loss, templates, truncation, evaluation; and TRL's way of making batches, which are the
same in every pass: the divergence is estimated from completions that change places within
a batch, so all batches are laid out, and every mismatched pair is scored, before training.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveFloat

from superalign_env.errors import InvalidOption
from superalign_env.seeding import generator
from superalign_training.algorithms.algorithm import LearnsFrom, OnStep, RefPolicy
from superalign_training.data import UnpairedPreference
from superalign_training.sections import Count, Plural, Section

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from trl.trainer.kto_trainer import KTOTrainer

    from superalign_training.algorithms.trl import StepRecorder
    from superalign_training.policy import Policy


class Kto(Section):
    """Kahneman-Tversky optimisation on good and bad completions."""

    learns_from: ClassVar[LearnsFrom] = "unpaired_preferences"
    id: Literal["kto"] = "kto"
    beta: PositiveFloat = 0.1
    """How strongly the policy is held near the reference policy."""
    ref_policy: RefPolicy = "round"
    """Reference policy: itself when training began, or its untrained original."""
    balance: bool = True
    """Whether good and bad examples weigh the same in total, however many there are."""
    desirable_weight: PositiveFloat = 1.0
    """Weight of a good example, on top of the balance."""
    undesirable_weight: PositiveFloat = 1.0
    """Weight of a bad example, on top of the balance."""
    steps: Count = 60
    """Optimiser steps at most."""
    num_train_epochs: PositiveFloat = 4.0
    """Stops earlier once every example was seen so often."""
    batch_size: Plural = 32
    """Examples in one step; the divergence is estimated within them."""
    learning_rate: PositiveFloat = 3e-4
    """Constant learning rate of AdamW."""

    def improve(
        self,
        policy: "Policy",
        experience: Sequence[UnpairedPreference],
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Train a policy in place to raise good completions and lower bad ones.

        Args:
            policy: changed in place; its optimiser goes on where it stopped.
            experience: at least one good and one bad example.
            seed: of the batches.
            on_step: called after every optimiser step.

        Returns:
            ``loss_first`` and ``loss`` (means over the first and last tenth), ``kl`` from
            the reference over the last tenth, ``examples``, ``good`` among them, ``steps``.

        Raises:
            InvalidOption: no examples or only one kind, one without a prompt or a
                completion, or weights and losses that are not finite.
        """
        from superalign_training.algorithms.fitting import batch_and_steps  # noqa: PLC0415 - torch takes seconds
        from superalign_training.algorithms.trl import StepRecorder, train_and_report  # noqa: PLC0415 - as above

        examples = list(experience)
        weights = self.weights(examples)
        batch, steps = batch_and_steps(self, len(examples))
        places = in_passes(len(examples), steps * batch, key=policy.seed(seed))
        rows = _rows(policy, [examples[place] for place in places], self, batch)
        recorder = StepRecorder(on_step)
        with policy.training(dropout=False):
            kto_trainer = trainer(
                self, policy, rows, weights, batch=batch, seed=seed, recorder=recorder
            )
            numbers = train_and_report(kto_trainer, recorder, "kl")
        return {
            "examples": float(len(examples)),
            "good": float(sum(example.good for example in examples)),
            "steps": float(steps),
            **numbers,
        }

    def weights(self, examples: Sequence[UnpairedPreference]) -> tuple[float, float]:
        """Return the weights of a good and of a bad example; on average they are 1.

        Raises:
            InvalidOption: no examples or only one kind, or an empty prompt or completion.
        """
        if not examples:
            raise InvalidOption("there is nothing to learn; give good and bad examples")
        if not all(example.prompt_ids and example.completion_ids for example in examples):
            raise InvalidOption(
                "an example needs a prompt and a completion of at least one token"
            )
        good = sum(example.good for example in examples)
        bad = len(examples) - good
        if not good or not bad:
            kind = "good" if good else "bad"
            raise InvalidOption(
                f"all {len(examples)} examples are {kind}: there is nothing to tell apart; "
                "give both kinds (sft learns from good ones alone)"
            )
        if not self.balance:
            return self.desirable_weight, self.undesirable_weight
        half = len(examples) / 2
        return self.desirable_weight * half / good, self.undesirable_weight * half / bad


def in_passes(count: int, length: int, *, key: int) -> list[int]:
    """Return indices of a list, pass after pass, shuffled anew for each."""
    rng = generator(key)
    places: list[int] = []
    while len(places) < length:
        places += rng.permutation(count).tolist()
    return places[:length]


def _rows(
    policy: "Policy", examples: Sequence[UnpairedPreference], settings: Kto, batch: int
) -> list[dict[str, Any]]:
    """Return the trainer's rows, batch after batch.

    Within a batch each completion is also put after the next prompt: how much likelier the
    policy finds those than the reference does estimates its divergence. Of a completion that is
    too long for the context there, only the beginning is.
    """
    before = [
        examples[place - 1 if place % batch else place + batch - 1]
        for place in range(len(examples))
    ]
    elsewhere = [
        earlier.completion_ids[: max(1, policy.agent.max_context - len(example.prompt_ids))]
        for example, earlier in zip(examples, before, strict=True)
    ]
    completions = [(example.prompt_ids, example.completion_ids) for example in examples]
    completions += [
        (example.prompt_ids, ids) for example, ids in zip(examples, elsewhere, strict=True)
    ]
    logprobs = _ref_logprobs(policy, completions, settings.ref_policy, batch)
    return [
        {
            "prompt_ids": list(example.prompt_ids),
            "completion_ids": list(example.completion_ids),
            "KL_completion_ids": list(ids),
            "label": example.good,
            "ref_logps": logprobs[place],
            "ref_KL_logps": logprobs[len(examples) + place],
        }
        for place, (example, ids) in enumerate(zip(examples, elsewhere, strict=True))
    ]


def _ref_logprobs(
    policy: "Policy",
    completions: Sequence[tuple[Any, Any]],
    ref_policy: RefPolicy,
    batch: int,
) -> list[float]:
    """Return reference log-probs; a repeated completion is scored once."""
    from superalign_training.algorithms.logprobs import ref_logprobs  # noqa: PLC0415 - torch takes seconds

    different = list(dict.fromkeys(completions))
    logprobs = ref_logprobs(policy, ref_policy, different, batch=2 * batch)
    by_completion = dict(zip(different, logprobs, strict=True))
    return [by_completion[completion] for completion in completions]


def trainer(
    settings: Kto,
    policy: "Policy",
    rows: Sequence[dict[str, Any]],
    weights: tuple[float, float],
    *,
    batch: int,
    seed: int = 0,
    recorder: "StepRecorder | None" = None,
) -> "KTOTrainer":
    """Return TRL's trainer for tokenised rows with known reference log-probabilities.

    Args:
        settings: of the algorithm.
        policy: in training.
        rows: batch after batch, as many as shall be trained on.
        weights: of a good and of a bad example.
        batch: rows in one step.
        seed: of whatever else is random.
        recorder: takes its numbers.
    """
    from trl.trainer.kto_config import KTOConfig  # noqa: PLC0415 - torch takes seconds
    from trl.trainer.kto_trainer import KTOTrainer  # noqa: PLC0415 - as above

    from superalign_training.algorithms.trl import make_trainer, tokenised  # noqa: PLC0415 - as above

    return make_trainer(
        tokenised(KTOTrainer),
        KTOConfig,
        model=policy.model,
        tokenizer=policy.tokenizer,
        optimizer=policy.optimizer(settings.learning_rate),
        rows=rows,
        batch_size=batch,
        steps=len(rows) // batch,
        learning_rate=settings.learning_rate,
        seed=seed,
        recorder=recorder,
        precompute_ref_log_probs=True,
        beta=settings.beta,
        desirable_weight=weights[0],
        undesirable_weight=weights[1],
    )
