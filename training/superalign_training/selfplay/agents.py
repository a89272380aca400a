"""Agents of stages: policies from the run state, and lineups."""

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import ValidationError

from superalign_agents.transformer import TransformerAgent
from superalign_env.asking import Anyone
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_env.protocols import Agent
from superalign_env.seeding import label, mix
from superalign_env.types import Event, Role, Seat
from superalign_training.gap.level import Level, with_level_decoding
from superalign_training.policy import (
    AnyPolicy,
    Checkpoint,
    LearnerPolicy,
    Lora,
    Policy,
    SharedBase,
    read_agent,
)
from superalign_training.registered import flaws
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.learners import (
    changed_start_message,
    first_learner,
    learner_of,
    trained_role,
)
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.opponents.pool import CheckpointLoader
from superalign_training.selfplay.playing import stage_capabilities
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.state import CHECKPOINTS, RunState


def policy_of(context: StageContext, role: Role, settings: Settings) -> Policy:
    """Return the policy of a role from the run state, for training.

    Raises:
        RecordDamaged: a checkpoint is missing or was altered.
    """
    checkpoint = context.state.policies[role]
    if checkpoint.path:
        options = _named(checkpoint.reference, settings)
        return Policy.load(
            context.run.path / checkpoint.path,
            checkpoint,
            device=settings.device,
            base=_base_of(context, checkpoint, settings, options),
            compiled=bool(options.get("compiled", False)),
            recompute=bool(options.get("recompute", False)),
        )
    policy = _first(role, settings, context.models)
    if policy.hash != checkpoint.weights:
        raise RecordDamaged(
            f"{checkpoint.reference} has other weights now than when this run began; restore "
            "them, or start a new run"
        )
    return policy


def trainee_of(context: StageContext, role: Role, settings: Settings) -> AnyPolicy:
    """Return the policy, or the learner, of a role from the run state, for training.

    Raises:
        RecordDamaged: a checkpoint is missing or was altered.
    """
    if not context.state.policies[role].own:
        return policy_of(context, role, settings)
    return learner_of(context, role, settings)


def lineup_of(context: StageContext, settings: Settings) -> dict[Role | Seat, Anyone]:
    """Return the current agent of each role or seat."""
    return {role: agent_of(context, role, settings) for role in settings.lineup}


def agent_of(context: StageContext, role: Role | Seat, settings: Settings) -> Anyone:
    """Return the current agent of a role or a seat: its policy's, or the named one.

    Raises:
        UnknownId: nobody is called so.
        RecordDamaged: a checkpoint is missing or was altered.
    """
    if role in context.state.policies:
        return player_of(context, role, settings)
    return context.models.frozen(settings.reference(role), device=settings.device)


def recorded_agent(context: StageContext, role: Role, settings: Settings) -> str:
    """Return the recorded hash of a role's current agent."""
    if role in context.state.policies:
        return context.state.policies[role].agent
    return context.run.agents.add(agent_of(context, role, settings).spec, role=role)


def player_of(context: StageContext, role: Role, settings: Settings) -> Agent:
    """Return the agent of a learning role: its policy's, or its learner.

    Raises:
        RecordDamaged: a checkpoint is missing or was altered.
    """
    checkpoint = context.state.policies[role]
    if not checkpoint.own:
        return speaker_of(context, role, settings)
    return context.models.speaker(
        role, checkpoint, lambda: learner_of(context, role, settings).agent
    )


def untrained_agent(context: StageContext, role: Role, settings: Settings) -> Agent:
    """Return the agent of a role before any training.

    Raises:
        RecordDamaged: it begins otherwise now.
    """
    policy = first_policy(role, settings, context.models)
    if (
        isinstance(policy, LearnerPolicy)
        and policy.hash != context.state.policies[role].original
    ):
        raise RecordDamaged(changed_start_message(policy))
    return policy.agent


def speaker_of(context: StageContext, role: Role, settings: Settings) -> TransformerAgent:
    """Return the agent of a learning policy, from the run state.

    Raises:
        RecordDamaged: a checkpoint is missing or was altered.
    """
    checkpoint = context.state.policies[role]
    if checkpoint.path:
        return checkpoint_agent(context, checkpoint, settings, part=role)
    return context.models.speaker(
        role, checkpoint, lambda: policy_of(context, role, settings).agent
    )


def checkpoint_agent(
    context: StageContext, checkpoint: Checkpoint, settings: Settings, *, part: str
) -> TransformerAgent:
    """Return the agent with the weights of a checkpoint of the run.

    Args:
        context: of the stage.
        checkpoint: its place in the run state.
        settings: of the run.
        part: see `ModelCache.speaker`.

    Raises:
        RecordDamaged: it is missing or was altered.
    """

    def read() -> TransformerAgent:
        options = _named(checkpoint.reference, settings)
        return read_agent(
            context.run.path / checkpoint.path,
            checkpoint,
            device=settings.device,
            base=_base_of(context, checkpoint, settings, options),
            compiled=bool(options.get("compiled", False)),
        )

    return context.models.speaker(part, checkpoint, read)


def deployed_agent(context: StageContext, settings: Settings) -> Agent:
    """Return the generation at work as deployed: with the decoding of its level.

    Raises:
        RecordDamaged: its checkpoint is missing or was altered.
    """
    agent = speaker_of(context, context.state.generation_role, settings)
    return with_level_decoding(agent, Level.of(settings.levels[context.state.level]))


def _named(reference: str, settings: Settings) -> dict[str, Any]:
    """Return the options of a reference in the settings."""
    for holder in (*map(settings.reference, settings.lineup), *settings.levels):
        if not isinstance(holder, str) and holder.get("id") == reference:
            return dict(holder)
    return {}


def first_policy(role: Role, settings: Settings, models: ModelCache) -> AnyPolicy:
    """Return the initial policy, or learner, of a role.

    Args:
        role: whose.
        settings: of the run.
        models: bases that adapters stand on.

    Raises:
        UnknownId: nothing is called so.
        InvalidOption: it cannot be trained.
    """
    if settings.own(trained_role(role, settings)):
        return first_learner(role, settings, models)
    return _first(role, settings, models)


def _first(role: Role, settings: Settings, models: ModelCache) -> Policy:
    reference = settings.reference(role)
    options = {"id": reference} if isinstance(reference, str) else dict(reference)
    if role == stage_capabilities(settings).judges:
        options = {"temperature": settings.judge.temperature, **options}
    return _untrained(options, settings, models, name=settings.holder(role))


def first_policies(settings: Settings, models: ModelCache) -> dict[Role, AnyPolicy]:
    """Return the initial policy of every learning role and of the roles that share it."""
    learning = {settings.holder(role) for role in settings.learning}
    return {
        role: first_policy(role, settings, models)
        for role in settings.lineup
        if settings.holder(role) in learning
    }


def level_policy(level: int, settings: Settings, models: ModelCache) -> Policy:
    """Return a fresh policy of a level, the start of a generation.

    Raises:
        UnknownId: nothing is called so.
        InvalidOption: it cannot be trained.
    """
    start = Level.of(settings.levels[level]).reference
    return _untrained(start, settings, models, name=f"level-{level}")


def _untrained(
    start: dict[str, Any], settings: Settings, models: ModelCache, *, name: str
) -> Policy:
    lora = start.get("adapter")
    if not isinstance(lora, Mapping):
        return Policy.from_reference(start, device=settings.device)
    adapter = _read_adapter(name, lora)
    del start["adapter"]
    base = _base(models, str(start["id"]), settings, start)
    return Policy.from_reference(
        start,
        device=settings.device,
        adapter=adapter,
        base=base,
        seed=mix(settings.seed, label(f"adapter-{name}")),
    )


def checkpoint_loader(context: StageContext, settings: Settings) -> CheckpointLoader:
    """Return the loader of the run's checkpoints."""
    return CheckpointLoader(
        context.run.path,
        settings.device,
        first=lambda role: _first(role, settings, context.models),
        base=lambda reference: context.models.base(reference, device=settings.device),
    )


def _base_of(
    context: StageContext,
    checkpoint: Checkpoint,
    settings: Settings,
    options: Mapping[str, Any],
) -> SharedBase | None:
    """Return the base of a checkpoint's adapter; None for a whole model."""
    if not checkpoint.base:
        return None
    return _base(context.models, checkpoint.reference, settings, options)


def _base(
    models: ModelCache,
    reference: str,
    settings: Settings,
    options: Mapping[str, Any] | None = None,
) -> SharedBase:
    named = options or {}
    loading = {key: named[key] for key in ("dtype", "attention") if key in named}
    return models.base(reference, device=settings.device, **loading)


def _read_adapter(owner: str, adapter: Mapping[str, Any]) -> Lora:
    try:
        return Lora.model_validate(dict(adapter))
    except ValidationError as error:
        raise InvalidOption(f"{owner}.adapter: {flaws(error, Lora)}") from error


def _note_unchanged(
    context: StageContext, role: Role, numbers: Mapping[str, float]
) -> None:
    flat = numbers.get("frac_reward_zero_std") == 1.0
    why = "no group differed in reward: " if flat else ""
    place = f"generation {context.generation}, " if context.generation else ""
    stage = context.stage.partition("-")[2]
    reason = f"{why}the weights of the {role} did not change ({place}round {context.round} {stage})"
    event = Event("policy.unchanged", evidence={"role": role, "reason": reason})
    context.run.events.add(event, stage=context.stage)


def keep_policy(
    context: StageContext,
    state: RunState,
    role: Role,
    policy: AnyPolicy,
    *,
    side: str | None = None,
    parent: str | None = None,
    numbers: Mapping[str, float] | None = None,
) -> RunState:
    """Save a policy as this round's checkpoint, record its lineage, and update the run state.

    Where training left the weights as they were, an event ``policy.unchanged`` says why.

    Args:
        context: of the stage.
        state: of the stage so far.
        role: whose policy it is.
        policy: to be kept.
        side: ``-`` before value alignment, ``+`` after it, else empty. The policy
            that generations are of is on the ``+`` side unless it is said otherwise.
        parent: agent that it was trained from, empty for a fresh policy; the role's own
            until now when absent.
        numbers: what training came to.
    """
    if parent is None and policy.hash == state.policies[role].weights:
        _note_unchanged(context, role, numbers or {})
    if side is None:
        side = "+" if role == state.generation_role and context.generation else ""
    # A stage that changed no weights may have changed moments: no two share a folder.
    stage = context.stage.partition("-")[2]
    name = f"{role}-g{context.generation}-r{context.round}-{stage}-{policy.hash[:12]}"
    saved = policy.save(context.run.path / CHECKPOINTS / name)
    path = f"{CHECKPOINTS}/{name}"
    agent = context.run.agents.add(
        policy.agent.spec,
        role=role,
        generation=context.generation,
        side=side,
        parent=state.policies[role].agent if parent is None else parent,
        path=path,
    )
    return state.with_policy(role, msgspec.structs.replace(saved, path=path, agent=agent))
