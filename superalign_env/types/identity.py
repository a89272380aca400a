"""Identities: roles, seats, agents, episode keys, tasks and their gold."""

from typing import Any, Literal

import msgspec

Role = str
"""attacker, learner, critic, judge, supervisor, monitor, human, …"""

Seat = str
"""A PettingZoo agent name: a role and a number, ``critic_1``."""


def role_of(seat: Seat) -> Role:
    """Return the role of a seat: ``critic_1`` → ``critic``."""
    return seat.rpartition("_")[0] or seat


class EpisodeKey(msgspec.Struct, frozen=True, gc=False):
    """Key of an episode, from which all its random numbers are derived.

    Seat and turn complete it (see `superalign_env.seeding`); `take` is no part of it.
    """

    run: int = 0
    """The run's seed."""
    generation: int = 0
    """Of a chain; 0 outside of one."""
    round: int = 0
    """Of self-play; 0 before the first."""
    case: int = 0
    """Which task and which draws of the scenario."""
    member: int = 0
    """Which of several plays of the same case (GRPO groups)."""
    take: int = 0
    """Which of several plays with the same random numbers: who is compared plays the same
    cases, and what differs comes from the agents alone."""


class AgentSpec(msgspec.Struct, frozen=True, gc=False):
    """The recorded form of an agent, from which it can be made again."""

    id: str
    """An id of the registry (``search``) or a policy reference (``micro/3``)."""
    options: dict[str, Any] = {}
    """Constructor arguments, plain JSON values."""
    policy: str = ""
    """Content hash of the weights, empty for agents without weights."""


Split = Literal["train", "control", "gate", "test"]
"""Disjoint by construction: controllers see `control`, gates `gate`; `test` is read once."""

SPLITS: tuple[Split, ...] = ("train", "control", "gate", "test")


class Task(msgspec.Struct, frozen=True, gc=False):
    """A public item. Its gold answer stays with the `TaskSource` that drew it."""

    id: str
    """Unique within its source."""
    family: str
    """Which kind of task: ``arithmetic``, ``requests``, a dataset's name."""
    prompt: str
    """What is asked."""
    tier: int = 1
    """Difficulty, from 1 upwards."""
    split: Split = "train"
    """What it may be used for."""
    choices: tuple[str, ...] = ()
    """The public options of a multiple-choice item or of a preference pair."""
    attributes: dict[str, Any] = {}
    """Other public facts, plain JSON values."""


class Gold(msgspec.Struct, frozen=True, gc=False):
    """Hidden truth of one task. Never in a view, an info or a training row."""

    answer: str = ""
    """The reference answer, or the ideal reply."""
    label: str = ""
    """A class, where truth is one: ``harmful`` or ``benign`` for requests."""
    facts: dict[str, Any] = {}
    """Whatever else the source grades with."""
