"""What stages hand on: checkpoints and memories, as plain values in the record."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from superalign_env.canonical import to_json
from superalign_env.errors import RecordDamaged
from superalign_env.store import Run
from superalign_env.store.database import reporting_full_disk
from superalign_env.types import Role
from superalign_training.gap.controller import GenerationStats
from superalign_training.policy.checkpoint import Checkpoint

if TYPE_CHECKING:  # torch takes seconds to import
    from superalign_training.policy import AnyPolicy

CHECKPOINTS = "checkpoints"
"""Folder of a run."""


class Memory(msgspec.Struct, frozen=True):
    """A file with the memory of an agent (an archive), and its content hash."""

    path: str
    """Relative to the run."""
    hash: str


class Aligned(msgspec.Struct, frozen=True):
    """An accepted generation A_i⁺: what later ones are supervised by."""

    generation: int
    level: int
    """Index on the ladder of levels."""
    checkpoint: Checkpoint


class Heard(msgspec.Struct, frozen=True):
    """The answers of people that have paid a policy."""

    upto: int
    """Id of the last signal that was read."""
    paid: tuple[tuple[int, int], ...] = ()
    """Later ones that paid at once: first and last id of every unbroken row of them."""
    unpaid: tuple[int, ...] = ()
    """Earlier ones for whose episodes no stage has had room yet."""

    def has(self, signal: int) -> bool:
        """Whether a signal has paid."""
        earlier = signal <= self.upto and signal not in self.unpaid
        return earlier or any(a <= signal <= b for a, b in self.paid)


NOTHING = Heard(0)
"""No answer has paid."""


class RunState(msgspec.Struct, frozen=True):
    """The state of a run between two stages."""

    policies: dict[Role, Checkpoint] = {}
    memories: dict[str, Memory] = {}
    holders: dict[Role, Role] = {}
    """Role → the role whose policy it uses; those that have their own are left out."""
    raised: Role = ""
    """The role whose policy generations are of; empty in a run of rounds."""
    aligned: tuple[Aligned, ...] = ()
    """A_1⁺ … as far as they were accepted, oldest first."""
    unasked: dict[str, float] = {}
    """Kind of question → the fraction of one that the budget has left."""
    heard: dict[Role, Heard] = {}
    """Role that has a policy of its own → the answers of people that have paid it."""
    level: int = 0
    """Of the generation at work."""
    before: Checkpoint | None = None
    """A_i⁻ of the generation at work: competent, not yet aligned."""
    sight: GenerationStats | None = None
    """What may be known of the generation at work."""
    sights: tuple[GenerationStats, ...] = ()
    """What may be known of finished generations: all that controllers see."""

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "RunState":
        """Read what `plain` returned.

        Raises:
            RecordDamaged: it is no run state.
        """
        try:
            return msgspec.convert(dict(plain), cls)
        except msgspec.ValidationError as error:
            raise RecordDamaged(f"a stage recorded no usable run state: {error}") from error

    def plain(self) -> dict[str, Any]:
        """Return plain JSON values."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built

    @property
    def current(self) -> Checkpoint:
        """The policy of the generation at work."""
        return self.policies[self.raised]

    def with_policy(self, role: Role, checkpoint: Checkpoint) -> "RunState":
        """Return the run state with another policy in a role, and in all that share it.

        Each role goes on speaking in its own way (temperature and the like).
        """
        policies = {**self.policies, role: checkpoint}
        for other, earlier in self.policies.items():
            if other != role and self.holder(other) == self.holder(role):
                policies[other] = msgspec.structs.replace(
                    checkpoint, options=earlier.options
                )
        return msgspec.structs.replace(self, policies=policies)

    def holder(self, role: Role) -> Role:
        """Return the role whose policy a role uses."""
        return self.holders.get(role, role)

    def begun(self, sight: GenerationStats) -> "RunState":
        """Return the run state at the beginning of a generation."""
        return msgspec.structs.replace(self, level=sight.level, before=None, sight=sight)

    def with_heard(self, role: Role, heard: Heard) -> "RunState":
        """Return the run state after answers of people have paid the policy of a role."""
        held = {**self.heard, self.holder(role): heard}
        return msgspec.structs.replace(self, heard=held)

    def with_unasked(self, unasked: Mapping[str, float]) -> "RunState":
        """Return the run state with other fractions of questions left; see `RunState.unasked`."""
        return msgspec.structs.replace(self, unasked=dict(unasked))

    def with_memory(self, name: str, memory: Memory) -> "RunState":
        """Return the run state with another memory."""
        return msgspec.structs.replace(self, memories={**self.memories, name: memory})


def first_state(
    run: Run,
    policies: "Mapping[Role, AnyPolicy]",
    *,
    holders: Mapping[Role, Role] | None = None,
    raised: Role = "",
) -> RunState:
    """Return the run state that a run begins with, its policies registered as agents of the run.

    Args:
        run: of the chain.
        policies: role → what it starts from.
        holders: see `RunState.holders`.
        raised: see `RunState.raised`.
    """
    state = RunState(holders=dict(holders or {}), raised=raised)
    for role, policy in policies.items():
        agent = run.agents.add(policy.agent.spec, role=role)
        state = state.with_policy(role, msgspec.structs.replace(policy.origin, agent=agent))
    return state


def write_memory(folder: Path, name: str, state: Mapping[str, Any]) -> Memory:
    """Write an agent's memory into a run, named by its content.

    Args:
        folder: of the run.
        name: what it is the memory of.
        state: plain JSON values.

    Raises:
        RecordFull: there is no room for it.
    """
    raw = to_json(state)
    digest = _digest(raw)
    path = folder / CHECKPOINTS / f"{name}-{digest[:12]}.json"
    partial = path.with_suffix(".partial")
    with reporting_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(raw)
        partial.replace(path)
    return Memory(path.relative_to(folder).as_posix(), digest)


def read_memory(folder: Path, memory: Memory) -> dict[str, Any]:
    """Return an agent's memory.

    Raises:
        RecordDamaged: the file is missing or was altered.
    """
    path = folder / memory.path
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RecordDamaged(
            f"{path} cannot be read ({error}); restore it from a copy, or start a new run"
        ) from error
    if _digest(raw) != memory.hash:
        raise RecordDamaged(
            f"{path} was altered: its content is not what the record names; restore it from "
            "a copy, or start a new run"
        )
    state: dict[str, Any] = json.loads(raw)
    return state


def _digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=16).hexdigest()
