"""Run state between stages: checkpoints and memories, as plain values in the record."""

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
    """An accepted generation A_i⁺, a supervisor of later ones."""

    generation: int
    level: int
    """Index on the ladder of levels."""
    checkpoint: Checkpoint


class PaidAnswers(msgspec.Struct, frozen=True):
    """Answers of people that are in the reward of a policy already."""

    upto: int
    """Id of the last signal that was read."""
    paid: tuple[tuple[int, int], ...] = ()
    """Later ones that paid at once: first and last id of every unbroken row of them."""
    unpaid: tuple[int, ...] = ()
    """Earlier ones for whose episodes no stage has had room yet."""

    def has(self, signal: int) -> bool:
        """Whether a signal is in the reward."""
        earlier = signal <= self.upto and signal not in self.unpaid
        return earlier or any(a <= signal <= b for a, b in self.paid)


NO_PAID_ANSWERS = PaidAnswers(0)
"""No answer has entered a reward."""


# Unknown fields are refused: a renamed one would silently be at its default after resume.
class RunState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state of a run between two stages."""

    policies: dict[Role, Checkpoint] = {}
    memories: dict[str, Memory] = {}
    holders: dict[Role, Role] = {}
    """Role → the role whose policy it uses; those that have their own are left out."""
    generation_role: Role = ""
    """The role whose policy generations are of; empty in a run of rounds."""
    aligned: tuple[Aligned, ...] = ()
    """A_1⁺ … as far as they were accepted, oldest first."""
    question_remainders: dict[str, float] = {}
    """Kind of question → fraction of one question left in the budget."""
    paid_answers: dict[Role, PaidAnswers] = {}
    """Role with a policy of its own → answers of people already in its reward."""
    level: int = 0
    """Of the generation at work."""
    before: Checkpoint | None = None
    """A_i⁻ of the generation at work: competent, not yet aligned."""
    stats: GenerationStats | None = None
    """Gold-free statistics of the generation at work."""
    history: tuple[GenerationStats, ...] = ()
    """Gold-free statistics of finished generations, the only input of gap controllers."""

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
        return self.policies[self.generation_role]

    def with_policy(self, role: Role, checkpoint: Checkpoint) -> "RunState":
        """Return the run state with another policy in a role and in those that share it.

        Each role goes on speaking in its own way (temperature and the like).
        """
        policies = {**self.policies, role: checkpoint}
        for sharing, earlier in self.policies.items():
            if sharing != role and self.holder(sharing) == self.holder(role):
                policies[sharing] = msgspec.structs.replace(
                    checkpoint, options=earlier.options
                )
        return msgspec.structs.replace(self, policies=policies)

    def holder(self, role: Role) -> Role:
        """Return the role whose policy a role uses."""
        return self.holders.get(role, role)

    def begun(self, stats: GenerationStats) -> "RunState":
        """Return the run state at the beginning of a generation."""
        return msgspec.structs.replace(self, level=stats.level, before=None, stats=stats)

    def with_paid_answers(self, role: Role, paid_answers: PaidAnswers) -> "RunState":
        """Return the run state with other answers in the reward of a role's policy."""
        updated = {**self.paid_answers, self.holder(role): paid_answers}
        return msgspec.structs.replace(self, paid_answers=updated)

    def with_question_remainders(
        self, question_remainders: Mapping[str, float]
    ) -> "RunState":
        """Return the run state with other fractions of questions left; see `question_remainders`."""
        return msgspec.structs.replace(self, question_remainders=dict(question_remainders))

    def with_memory(self, name: str, memory: Memory) -> "RunState":
        """Return the run state with another memory."""
        return msgspec.structs.replace(self, memories={**self.memories, name: memory})


def first_state(
    run: Run,
    policies: "Mapping[Role, AnyPolicy]",
    *,
    holders: Mapping[Role, Role] | None = None,
    generation_role: Role = "",
) -> RunState:
    """Return the initial run state, with its policies recorded as agents.

    Args:
        run: of the chain.
        policies: role → what it starts from.
        holders: see `RunState.holders`.
        generation_role: see `RunState.generation_role`.
    """
    state = RunState(holders=dict(holders or {}), generation_role=generation_role)
    for role, policy in policies.items():
        agent = run.agents.add(policy.agent.spec, role=role)
        state = state.with_policy(role, msgspec.structs.replace(policy.origin, agent=agent))
    return state


def write_memory(folder: Path, name: str, state: Mapping[str, Any]) -> Memory:
    """Write an agent's memory into a run, in a file named by its hash.

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
