"""TRL's GRPO trainer on groups of recorded rows, with advantages of ours.

TRL does the loss, the divergence, the optimiser and its loop. Ours is what it is fed with:
recorded ids instead of generated ones (any number of rows, while its `rollout_func` must
return as many as it was asked for), advantages ([B, T], which its loss takes on purpose),
importance weights of stored rows, and how many rows go through the model at once. Methods
with an underscore are TRL's own: the reason why trl is pinned to a minor version.
"""

from functools import partial
from typing import Any

import torch
from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from superalign_agents.batching import positions
from superalign_training.algorithms.advantages import (
    by_turn,
    importance_weighted,
    is_off_policy,
    log_ratios,
)
from superalign_training.algorithms.algorithm import OnStep
from superalign_training.algorithms.cases import CaseSampler, Groups, Score, episode_returns
from superalign_training.algorithms.grpo import GroupAlgorithm
from superalign_training.algorithms.logprobs import (
    RowBatch,
    batch_of,
    compute_old_logprobs,
    ref_model,
)
from superalign_training.algorithms.micro_batch import MicroBatch
from superalign_training.algorithms.trl import (
    StepRecorder,
    run,
    shared_arguments,
)
from superalign_training.data import Experience
from superalign_training.policy import Policy


def learn_from_groups(
    policy: Policy,
    experience: Experience,
    settings: GroupAlgorithm,
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
    groups = Groups(CaseSampler(experience, policy), settings.num_generations, score)
    recorder = StepRecorder(on_step)
    ref = ref_model(policy, settings.ref_policy) if settings.beta else None
    with policy.training(dropout=False):
        trainer = GroupTrainer(policy, groups, settings, cap=experience.cap, seed=seed)
        trainer.add_callback(recorder)
        if ref is not None:
            trainer.add_kl(ref, settings.beta)
        run(trainer)
    return _outcome(recorder, groups)


class GroupTrainer(GRPOTrainer):
    """A GRPOTrainer on recorded rows with given advantages.

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
        settings: GroupAlgorithm,
        *,
        cap: float | None,
        seed: int,
    ) -> None:
        self._policy, self._groups, self._cap = policy, groups, cap
        self._wanted = settings.batch_size
        self._micro = MicroBatch(settings.micro_batch_size)
        shared = shared_arguments(
            steps=settings.steps,
            learning_rate=settings.learning_rate,
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
                per_device_train_batch_size=settings.num_generations,
                num_generations=settings.num_generations,
                temperature=policy.agent.temperature or 1.0,
                beta=0.0,  # see `add_kl`
                shuffle_dataset=False,
            ),
            optimizers=policy.optimizers(settings.learning_rate, settings.lr_schedule),
        )

    def add_kl(self, ref: Any, beta: float) -> None:
        """Add the KL to a reference model to the loss.

        TRL would load a further model from where the weights came from, which need not be
        what is meant.
        """
        ref.__dict__.pop("forward", None)  # an earlier trainer's
        add_fused_lm_head(ref, temperature=self.temperature)
        self.ref_model, self.beta = ref, beta

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """Return rows of rollouts, in place of TRL's generation and reward functions."""
        rows, advantages, zero_std = self._groups.compare(self._wanted)
        if self._cap is not None and is_off_policy(rows, self._cap):
            now = compute_old_logprobs(
                self._policy, rows, ref=None, values=False, micro=self._micro
            )
            ratios = log_ratios(rows, now.old_logprobs.tolist())
            advantages = importance_weighted(rows, advantages, ratios, self._cap)
        batch = batch_of(self._policy, rows)
        pay = episode_returns(rows)
        self._metrics["train"]["reward"].append(sum(pay) / len(pay))
        self._metrics["train"]["frac_reward_zero_std"].append(zero_std)
        return self._ref_logprobs(batch) | {
            "prompt_ids": batch.ids[:, : -batch.width],
            "prompt_mask": batch.attention_mask[:, : -batch.width],
            "completion_ids": batch.completions,
            "completion_mask": batch.attention_mask[:, -batch.width :],
            "tool_mask": batch.loss_mask,
            "advantages": batch.spread(by_turn(rows, advantages)),
            "num_items_in_batch": batch.loss_mask.sum(),
        }

    def _ref_logprobs(self, batch: RowBatch) -> dict[str, torch.Tensor]:
        """Return the reference log-probs, if there is a reference."""
        if not self.beta:
            return {}

        def of(places: torch.Tensor) -> torch.Tensor:
            part = batch.rows(places)
            logprobs: torch.Tensor = self._get_per_token_logps_and_entropies(
                self.ref_model, part.ids, part.attention_mask, batch.width
            )[0]
            return logprobs

        with torch.no_grad():
            parts = self._micro.over(len(batch.loss_mask), of)
        return {"ref_per_token_logps": torch.cat(parts)}

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, *rest: Any, **options: Any
    ) -> Any:
        """Pass position ids to the model: TRL pads prompts on the left and leaves them out."""
        placed = partial(model, position_ids=positions(attention_mask))
        return super()._get_per_token_logps_and_entropies(
            placed, input_ids, attention_mask, *rest, **options
        )

    def training_step(
        self, model: Any, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Run all rows of a step, in micro-batches that fit into memory.

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
    """Reward function that TRL requires and nothing calls: rows come with rewards."""
    raise AssertionError("TRL asked for rewards that were settled already")


def _outcome(recorder: StepRecorder, groups: Groups) -> dict[str, float]:
    tenth = max(1, len(recorder.history) // 10)
    first_rewards = [numbers["reward"] for numbers in recorder.history[:tenth]]
    last_means = {
        name: recorder.mean(name, last=tenth) or 0.0
        for name in ("reward", "loss", "kl", "entropy", "frac_reward_zero_std")
    }
    return {
        "cases": float(groups.cases.played),
        "reward_first": sum(first_rewards) / len(first_rewards),
        **last_means,
        "groups": groups.share,
    }
