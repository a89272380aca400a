"""TRL's GRPO trainer on groups of recorded rows, with advantages of ours.

TRL does the loss, the divergence, the optimiser and its loop. Ours is what it is fed with:
recorded ids instead of generated ones (any number of rows, while its `rollout_func` must
return as many as it was asked for), advantages ([B, T], which its loss takes on purpose),
importance weights of stored rows, and how many rows go through the model at once. Methods
with an underscore are TRL's own: the reason why trl is pinned to a minor version.
"""

from functools import partial
from typing import Any, ClassVar

import torch
from datasets import Dataset
from pydantic import NonNegativeFloat, PositiveFloat
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from superalign_agents.decoding import positions
from superalign_training.algorithms.trainers.arguments import (
    OnStep,
    Recorder,
    run,
    shared_arguments,
)
from superalign_training.algorithms.trainers.former_self import Anchor
from superalign_training.algorithms.trainers.groups import Groups, Score
from superalign_training.algorithms.updates.anchor import anchor_of
from superalign_training.algorithms.updates.batches import Batch, batch_of
from superalign_training.algorithms.updates.cases import Cases, totals
from superalign_training.algorithms.updates.credit import (
    by_turn,
    log_ratios,
    must_weigh,
    weighed,
)
from superalign_training.algorithms.updates.hindsight import look_back
from superalign_training.algorithms.updates.memory import MicroBatch
from superalign_training.experience import Experience
from superalign_training.policy import Policy
from superalign_training.policy.schedule import CONSTANT, Schedule
from superalign_training.sections import Count, Plural, Section


class GroupSettings(Section):
    """What all algorithms that compare the members of a group can be told."""

    weighs_stored: ClassVar[bool] = True

    steps: Count = 20
    """Optimiser steps, each on episodes of the newest policy."""
    cases: Count = 32
    """Different cases in one step."""
    members: Plural = 4
    """Plays of each case: the group whose mean is the baseline."""
    fork: bool = True
    """Whether members share everything up to the learner's first view."""
    micro_batch: Count | None = None
    """Rows that go through the model at once; None is all of a step."""
    rate: PositiveFloat = 1e-3
    """Learning rate of AdamW."""
    schedule: Schedule = CONSTANT
    """How the rate changes over the policy's life."""
    kl: NonNegativeFloat = 0.1
    """Weight of the divergence from what the policy is held to: without it a tiny policy
    is sure of everything before it has learned anything."""
    anchor: Anchor = "round"
    """What it is held to: the policy that the call began with, or its untrained original."""


def learn_from_groups(
    policy: Policy,
    experience: Experience,
    settings: GroupSettings,
    *,
    score: Score,
    seed: int,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Improve a policy in place by comparing the members of groups.

    Returns:
        ``reward_first`` and ``reward`` (means over the first and last tenth), ``loss``,
        ``kl``, ``entropy``, ``frac_reward_zero_std`` (share of groups without any
        difference in pay), ``cases`` played, and ``groups`` (share of cases that all members had a turn in).
    """
    groups = Groups(Cases(experience, policy), settings.members, score)
    recorder = Recorder(on_step)
    anchor = anchor_of(policy, settings.anchor) if settings.kl else None
    with policy.training(dropout=False):
        trainer = GroupTrainer(policy, groups, settings, cap=experience.cap, seed=seed)
        trainer.add_callback(recorder)
        if anchor is not None:
            trainer.hold_to(anchor, settings.kl)
        run(trainer)
    return _outcome(recorder, groups)


class GroupTrainer(GRPOTrainer):
    """GRPOTrainer that learns from rows it is given.

    Args:
        policy: changed in place.
        groups: gives rows and advantages.
        settings: of the algorithm.
        cap: where importance weights are cut off; None: there are none.
        seed: of whatever is random.
    """

    def __init__(
        self,
        policy: Policy,
        groups: Groups,
        settings: GroupSettings,
        *,
        cap: float | None,
        seed: int,
    ) -> None:
        self._policy, self._groups, self._cap = policy, groups, cap
        self._wanted = settings.cases
        self._micro = MicroBatch(settings.micro_batch)
        shared = shared_arguments(
            steps=settings.steps,
            rate=settings.rate,
            seed=policy.seed(seed),
            device=str(policy.model.device),
        )
        super().__init__(
            model=policy.model,
            reward_funcs=_settled_already,
            processing_class=policy.tokenizer,
            train_dataset=Dataset.from_list([{"prompt": "cases are played instead"}]),
            args=GRPOConfig(
                **shared,
                per_device_train_batch_size=settings.members,
                num_generations=settings.members,
                temperature=policy.agent.temperature or 1.0,
                beta=0.0,  # see `hold_to`
                shuffle_dataset=False,
            ),
            optimizers=policy.optimizers(settings.rate, settings.schedule),
        )

    def hold_to(self, anchor: Any, kl: float) -> None:
        """Add the divergence from a model to the loss.

        TRL would load a further model from where the weights came from, which need not be
        what is meant.
        """
        anchor.__dict__.pop("forward", None)  # an earlier trainer's
        add_fused_lm_head(anchor, temperature=self.temperature)
        self.ref_model, self.beta = anchor, kl

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """Play, instead of generating from prompts and asking reward functions."""
        rows, advantages, flat = self._groups.compare(self._wanted)
        if self._cap is not None and must_weigh(rows, self._cap):
            now = look_back(
                self._policy, rows, anchor=None, valued=False, micro=self._micro
            )
            ratios = log_ratios(rows, now.logprobs.tolist())
            advantages = weighed(rows, advantages, ratios, self._cap)
        batch = batch_of(self._policy, rows)
        pay = totals(rows)
        self._metrics["train"]["reward"].append(sum(pay) / len(pay))
        self._metrics["train"]["frac_reward_zero_std"].append(flat)
        return self._anchored(batch) | {
            "prompt_ids": batch.ids[:, : -batch.width],
            "prompt_mask": batch.attention_mask[:, : -batch.width],
            "completion_ids": batch.completions,
            "completion_mask": batch.attention_mask[:, -batch.width :],
            "tool_mask": batch.loss_mask,
            "advantages": batch.spread(by_turn(rows, advantages)),
            "num_items_in_batch": batch.loss_mask.sum(),
        }

    def _anchored(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the log-probabilities of the model that is held to, if any."""
        if not self.beta:
            return {}

        def look(places: torch.Tensor) -> torch.Tensor:
            part = batch.rows(places)
            found: torch.Tensor = self._get_per_token_logps_and_entropies(
                self.ref_model, part.ids, part.attention_mask, batch.width
            )[0]
            return found

        with torch.no_grad():
            parts = self._micro.over(len(batch.loss_mask), look)
        return {"ref_per_token_logps": torch.cat(parts)}

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, *rest: Any, **options: Any
    ) -> Any:
        """Give the model positions: TRL pads prompts on the left and leaves them out."""
        placed = partial(model, position_ids=positions(attention_mask))
        return super()._get_per_token_logps_and_entropies(
            placed, input_ids, attention_mask, *rest, **options
        )

    def training_step(
        self, model: Any, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Go through all rows of a step, as many at a time as memory allows.

        The loss is a sum over tokens divided by their number in the whole step, so that
        pieces add up to what they are together.
        """
        model.train()
        batch = self._prepare_inputs(inputs)

        def push(places: torch.Tensor) -> torch.Tensor:
            part = {
                n: value[places] if value.dim() else value for n, value in batch.items()
            }
            with self.compute_loss_context_manager():
                loss = self.compute_loss(model, part)
            self.accelerator.backward(loss)
            detached: torch.Tensor = loss.detach()
            return detached

        losses = self._micro.over(len(batch["advantages"]), push, restart=model.zero_grad)
        self._step += 1
        return torch.stack(losses).sum()


def _settled_already(*_: Any, **__: Any) -> list[float | None]:
    """Stand where TRL insists on a reward function; rows come with their pay."""
    raise AssertionError("TRL asked for rewards that were settled already")


def _outcome(recorder: Recorder, groups: Groups) -> dict[str, float]:
    tenth = max(1, len(recorder.history) // 10)
    first = [numbers["reward"] for numbers in recorder.history[:tenth]]
    last = {
        name: recorder.mean(name, last=tenth) or 0.0
        for name in ("reward", "loss", "kl", "entropy", "frac_reward_zero_std")
    }
    return {
        "cases": float(groups.cases.played),
        "reward_first": sum(first) / len(first),
        **last,
        "groups": groups.share,
    }
