"""Group-relative policy optimisation on environment rewards (TRL's GRPOTrainer).

Whole episodes are played inside `rollout_func`; the trainer gets recorded ids, a mask
that hides what the environment said, and the settled pay. What was left out: stored
experience (its log-probs lie in the record), a value function, more than one step on the
same episodes.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import ceil
from typing import Any, Literal

from datasets import Dataset  # type: ignore[import-untyped] # ships no types
from pydantic import NonNegativeFloat, PositiveFloat
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.arguments import (
    OnStep,
    Recorder,
    constant_schedule,
    run,
    shared_arguments,
)
from superalign_training.experience import Live, PlayCases, Row
from superalign_training.policy import Policy
from superalign_training.sections import Count, Plural, Section

_TRIES = 4
"""How often more cases are played when some gave no complete group."""


class Grpo(Section):
    """Group-relative policy optimisation: how a policy is improved by rewards."""

    id: Literal["grpo"] = "grpo"
    steps: Count = 20
    """Optimiser steps, each on episodes of the newest policy."""
    cases: Count = 32
    """Different cases in one step."""
    members: Plural = 4
    """Plays of each case: the group whose mean is the baseline."""
    fork: bool = True
    """Whether members share everything up to the learner's first view."""
    rate: PositiveFloat = 1e-3
    """Constant learning rate of AdamW."""
    kl: NonNegativeFloat = 0.1
    """Weight of the divergence from the policy that the round began with: without it a
    tiny policy is sure of everything before it has learned anything."""

    def improve(
        self,
        policy: Policy,
        experience: Live,
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Improve a policy in place by the rewards of the episodes that it plays.

        Args:
            policy: changed in place; its optimiser goes on where it stopped.
            experience: plays cases with the policy's agent as it is at that moment.
            seed: another one for every round.
            on_step: called after every optimiser step.

        Returns:
            ``reward_first`` and ``reward`` (means over the first and last tenth),
            ``loss``, ``flat`` (share of groups without any difference in pay), ``cases``
            played, and complete ``groups`` for each of them.

        Raises:
            InvalidOption: episodes give no rows for the policy at all.
        """
        return _reinforce(policy, experience.play, self, seed=seed, on_step=on_step)


def _reinforce(
    policy: Policy,
    play: PlayCases,
    settings: Grpo,
    *,
    seed: int,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    device = str(policy.model.device)
    optimizer = policy.optimizer(settings.rate)
    recorder = Recorder(on_step)
    groups = Groups(policy, play, settings.members)
    rows = settings.cases * settings.members
    trainer = GRPOTrainer(
        model=policy.model,
        reward_funcs=settled_pay,
        rollout_func=groups.roll_out,
        processing_class=policy.tokenizer,
        train_dataset=Dataset.from_list([{"prompt": "-"}] * settings.cases),
        args=GRPOConfig(
            **shared_arguments(
                steps=settings.steps, rate=settings.rate, seed=seed, device=device
            ),
            per_device_train_batch_size=rows,
            num_generations=settings.members,
            temperature=policy.agent.temperature or 1.0,
            beta=settings.kl,
            shuffle_dataset=False,
        ),
        optimizers=(optimizer, constant_schedule(optimizer)),
        callbacks=[recorder],
    )
    run(trainer)
    policy.model.train(False)
    policy.agent.refresh()
    return _outcome(recorder, groups, settings.steps)


def _outcome(recorder: Recorder, groups: "Groups", steps: int) -> dict[str, float]:
    tenth = max(1, steps // 10)
    first = [numbers["reward"] for numbers in recorder.history[:tenth]]
    return {
        "cases": float(groups.next_case),
        "reward_first": sum(first) / len(first),
        "reward": recorder.mean("reward", last=tenth) or 0.0,
        "loss": recorder.mean("loss", last=tenth) or 0.0,
        "groups": groups.complete / groups.next_case,
        "flat": recorder.mean("frac_reward_zero_std", last=tenth) or 0.0,
    }


def settled_pay(
    prompts: Sequence[str],
    completions: Sequence[str],
    pay: Sequence[float | None],
    **columns: Any,
) -> list[float | None]:
    """Return what the environment paid; None (no opinion) for rows that only fill up."""
    return list(pay)


class Groups:
    """Plays cases until a step has the rows that the trainer wants.

    Some cases give the learner no turn (the attacker's query was invalid). They are
    replaced by further cases; if those run dry too, groups are repeated without pay, so
    that they move nothing.

    Args:
        policy: who learns.
        play: plays cases.
        members: rows of one group.
    """

    def __init__(self, policy: Policy, play: PlayCases, members: int) -> None:
        self._policy = policy
        self._play = play
        self._members = members
        self.next_case = 0
        """How many cases were played."""
        self.complete = 0
        """How many groups they gave."""

    def roll_out(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """Return one row for every prompt: groups lie together (TRL's `rollout_func`)."""
        self._policy.agent.refresh()
        wanted = len(prompts) // self._members
        groups = self._collect(wanted)
        rows = [row for group in groups for row in group]
        pay: list[float | None] = [row.to_go for row in rows]
        for filler in range(wanted - len(groups)):
            rows += groups[filler % len(groups)]
            pay += [None] * self._members
        return {
            "prompt_ids": [list(row.prompt_ids) for row in rows],
            "completion_ids": [list(row.completion_ids) for row in rows],
            "env_mask": [list(row.env_mask) for row in rows],
            # Sampled a moment ago by the same weights: no importance weights are needed.
            "logprobs": None,
            "pay": pay,
        }

    def _collect(self, wanted: int) -> list[list[Row]]:
        groups: list[list[Row]] = []
        for _ in range(_TRIES):
            missing = wanted - len(groups)
            if missing <= 0:
                break
            # As many as will do if cases go on to yield groups as they did so far.
            count = ceil(missing / max(self._yield, 1 / _TRIES))
            found = complete_groups(self._play(self.next_case, count), self._members)
            self.next_case += count
            self.complete += len(found)
            groups += found
        if not groups:
            raise InvalidOption(
                "the learner had no turn to learn from in a whole step: are all of the "
                "attacker's queries invalid? Raise learn.vanilla or change the attacker"
            )
        return groups[:wanted]

    @property
    def _yield(self) -> float:
        return self.complete / self.next_case if self.next_case else 1.0


def complete_groups(rows: Sequence[Row], members: int) -> list[list[Row]]:
    """Return the groups that all members contribute to, by case and place in the episode.

    The n-th rows of all members of one case are comparable; a group in which some
    member has no n-th row is left out.
    """
    places: dict[tuple[int, int], int] = defaultdict(int)
    found: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        place = places[row.case, row.member]
        places[row.case, row.member] += 1
        found[row.case, place].append(row)
    return [group for group in found.values() if len(group) == members]
