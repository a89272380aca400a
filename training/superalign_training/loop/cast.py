"""What stages play with: scenarios, policies from the chain, line-ups."""

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
from superalign_training.gap.level import Level, voiced
from superalign_training.league.opponents import CheckpointShelf
from superalign_training.loop.chain import CHECKPOINTS, Chain
from superalign_training.loop.driver import Bench
from superalign_training.loop.learners import (
    first_learner,
    learner_of,
    other_start,
    trained_role,
)
from superalign_training.loop.playing import stage_parts
from superalign_training.loop.residents import Residents
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
from superalign_training.settings import Settings


def policy_of(bench: Bench, role: Role, settings: Settings) -> Policy:
    """Return the policy of a role as the chain says it is, to be trained.

    Raises:
        RecordDamaged: a checkpoint is missing or was altered.
    """
    found = bench.chain.policies[role]
    if found.path:
        named = _named(found.reference, settings)
        return Policy.load(
            bench.run.path / found.path,
            found,
            device=settings.device,
            base=_base_of(bench, found, settings, named),
            compiled=bool(named.get("compiled", False)),
            recompute=bool(named.get("recompute", False)),
        )
    policy = _first(role, settings, bench.residents)
    if policy.hash != found.weights:
        raise RecordDamaged(
            f"{found.reference} has other weights now than when this run began; restore "
            "them, or start a new run"
        )
    return policy


def trainee_of(bench: Bench, role: Role, settings: Settings) -> AnyPolicy:
    """Return the policy, or the learner, of a role as the chain says it is, to be trained.

    Raises:
        RecordDamaged: a checkpoint is missing or was altered.
    """
    if not bench.chain.policies[role].own:
        return policy_of(bench, role, settings)
    return learner_of(bench, role, settings)


def lineup_of(bench: Bench, settings: Settings) -> dict[Role | Seat, Anyone]:
    """Return who holds each role, or seat, of the run as it is now."""
    return {role: agent_of(bench, role, settings) for role in settings.lineup}


def agent_of(bench: Bench, role: Role | Seat, settings: Settings) -> Anyone:
    """Return who holds a role, or a seat, as it is now: its policy, or who was named.

    Raises:
        UnknownId: nobody is called so.
        RecordDamaged: a checkpoint is missing or was altered.
    """
    if role in bench.chain.policies:
        return player_of(bench, role, settings)
    return bench.residents.frozen(settings.reference(role), device=settings.device)


def recorded_agent(bench: Bench, role: Role, settings: Settings) -> str:
    """Return the hash under which the record knows who holds a role now."""
    if role in bench.chain.policies:
        return bench.chain.policies[role].agent
    return bench.run.agents.add(agent_of(bench, role, settings).spec, role=role)


def player_of(bench: Bench, role: Role, settings: Settings) -> Agent:
    """Return who plays for a role that learns: its policy's agent, or its learner.

    Raises:
        RecordDamaged: a checkpoint is missing or was altered.
    """
    found = bench.chain.policies[role]
    if not found.own:
        return speaker_of(bench, role, settings)
    return bench.residents.speaker(
        role, found, lambda: learner_of(bench, role, settings).agent
    )


def untrained_agent(bench: Bench, role: Role, settings: Settings) -> Agent:
    """Return who played for a role before any training.

    Raises:
        RecordDamaged: it begins otherwise now.
    """
    first = first_policy(role, settings, bench.residents)
    if (
        isinstance(first, LearnerPolicy)
        and first.hash != bench.chain.policies[role].original
    ):
        raise RecordDamaged(other_start(first))
    return first.agent


def speaker_of(bench: Bench, role: Role, settings: Settings) -> TransformerAgent:
    """Return who speaks for a role that learns, as the chain says it is.

    Raises:
        RecordDamaged: a checkpoint is missing or was altered.
    """
    found = bench.chain.policies[role]
    if found.path:
        return checkpoint_agent(bench, found, settings, part=role)
    return bench.residents.speaker(
        role, found, lambda: policy_of(bench, role, settings).agent
    )


def checkpoint_agent(
    bench: Bench, found: Checkpoint, settings: Settings, *, part: str
) -> TransformerAgent:
    """Return who speaks with the weights of a checkpoint of the run.

    Args:
        bench: of the stage.
        found: what the chain says of it.
        settings: of the run.
        part: see `Residents.speaker`.

    Raises:
        RecordDamaged: it is missing or was altered.
    """

    def read() -> TransformerAgent:
        named = _named(found.reference, settings)
        return read_agent(
            bench.run.path / found.path,
            found,
            device=settings.device,
            base=_base_of(bench, found, settings, named),
            compiled=bool(named.get("compiled", False)),
        )

    return bench.residents.speaker(part, found, read)


def deployed_agent(bench: Bench, settings: Settings) -> Agent:
    """Return the generation at work as it is deployed: with the voice of its level.

    Raises:
        RecordDamaged: its checkpoint is missing or was altered.
    """
    agent = speaker_of(bench, bench.chain.raised, settings)
    return voiced(agent, Level.of(settings.levels[bench.chain.level]))


def _named(reference: str, settings: Settings) -> dict[str, Any]:
    """Return the options that the settings give where they name a reference."""
    for given in (*map(settings.reference, settings.lineup), *settings.levels):
        if not isinstance(given, str) and given.get("id") == reference:
            return dict(given)
    return {}


def first_policy(role: Role, settings: Settings, residents: Residents) -> AnyPolicy:
    """Return the policy, or the learner, that a role starts from.

    Args:
        role: whose.
        settings: of the run.
        residents: bases that adapters stand on.

    Raises:
        UnknownId: nothing is called so.
        InvalidOption: it cannot be trained.
    """
    if settings.own(trained_role(role, settings)):
        return first_learner(role, settings, residents)
    return _first(role, settings, residents)


def _first(role: Role, settings: Settings, residents: Residents) -> Policy:
    given = settings.reference(role)
    start = {"id": given} if isinstance(given, str) else dict(given)
    if role == stage_parts(settings).judges:
        start = {"temperature": settings.judge.temperature, **start}
    return _untrained(start, settings, residents, name=settings.holder(role))


def first_policies(settings: Settings, residents: Residents) -> dict[Role, AnyPolicy]:
    """Return what every policy that learns starts from, for all roles that it holds."""
    learning = {settings.holder(role) for role in settings.learning}
    return {
        role: first_policy(role, settings, residents)
        for role in settings.lineup
        if settings.holder(role) in learning
    }


def level_policy(level: int, settings: Settings, residents: Residents) -> Policy:
    """Return a fresh policy of a level: what a generation starts from.

    Raises:
        UnknownId: nothing is called so.
        InvalidOption: it cannot be trained.
    """
    start = Level.of(settings.levels[level]).reference
    return _untrained(start, settings, residents, name=f"level-{level}")


def _untrained(
    start: dict[str, Any], settings: Settings, residents: Residents, *, name: str
) -> Policy:
    lora = start.get("adapter")
    if not isinstance(lora, Mapping):
        return Policy.from_reference(start, device=settings.device)
    adapter = _read_adapter(name, lora)
    del start["adapter"]
    base = _base(residents, str(start["id"]), settings, start)
    return Policy.from_reference(
        start,
        device=settings.device,
        adapter=adapter,
        base=base,
        seed=mix(settings.seed, label(f"adapter-{name}")),
    )


def shelf_of(bench: Bench, settings: Settings) -> CheckpointShelf:
    """Return where the checkpoints of a run lie."""
    return CheckpointShelf(
        bench.run.path,
        settings.device,
        first=lambda role: _first(role, settings, bench.residents),
        base=lambda reference: bench.residents.base(reference, device=settings.device),
    )


def _base_of(
    bench: Bench, found: Checkpoint, settings: Settings, named: Mapping[str, Any]
) -> SharedBase | None:
    """Return what the adapter of a checkpoint stands on; None for a whole model."""
    if not found.base:
        return None
    return _base(bench.residents, found.reference, settings, named)


def _base(
    residents: Residents,
    reference: str,
    settings: Settings,
    options: Mapping[str, Any] | None = None,
) -> SharedBase:
    named = options or {}
    own = {key: named[key] for key in ("dtype", "attention") if key in named}
    return residents.base(reference, device=settings.device, **own)


def _read_adapter(owner: str, given: Mapping[str, Any]) -> Lora:
    try:
        return Lora.model_validate(dict(given))
    except ValidationError as error:
        raise InvalidOption(f"{owner}.adapter: {flaws(error, Lora)}") from error


def _note_unchanged(bench: Bench, role: Role, numbers: Mapping[str, float]) -> None:
    flat = numbers.get("frac_reward_zero_std") == 1.0
    why = "no group differed in reward: " if flat else ""
    where = f"generation {bench.generation}, " if bench.generation else ""
    stage = bench.stage.partition("-")[2]
    reason = f"{why}the weights of the {role} did not change ({where}round {bench.round} {stage})"
    event = Event("policy.unchanged", evidence={"role": role, "reason": reason})
    bench.run.events.add(event, stage=bench.stage)


def keep_policy(
    bench: Bench,
    chain: Chain,
    role: Role,
    policy: AnyPolicy,
    *,
    side: str | None = None,
    parent: str | None = None,
    numbers: Mapping[str, float] | None = None,
) -> Chain:
    """Save a policy as this round's checkpoint, record its lineage, put it in the chain.

    Where training left the weights as they were, an event ``policy.unchanged`` says why.

    Args:
        bench: of the stage.
        chain: of the stage so far.
        role: whose policy it is.
        policy: to be kept.
        side: ``-`` before value alignment, ``+`` after it, else empty. The policy
            that generations are of is on the ``+`` side unless it is said otherwise.
        parent: agent that it was trained from, empty for a fresh policy; the role's own
            until now when absent.
        numbers: what training came to.
    """
    if parent is None and policy.hash == chain.policies[role].weights:
        _note_unchanged(bench, role, numbers or {})
    if side is None:
        side = "+" if role == chain.raised and bench.generation else ""
    # A stage that changed no weights may have changed moments: no two share a folder.
    stage = bench.stage.partition("-")[2]
    name = f"{role}-g{bench.generation}-r{bench.round}-{stage}-{policy.hash[:12]}"
    saved = policy.save(bench.run.path / CHECKPOINTS / name)
    path = f"{CHECKPOINTS}/{name}"
    agent = bench.run.agents.add(
        policy.agent.spec,
        role=role,
        generation=bench.generation,
        side=side,
        parent=chain.policies[role].agent if parent is None else parent,
        path=path,
    )
    return chain.with_policy(role, msgspec.structs.replace(saved, path=path, agent=agent))
