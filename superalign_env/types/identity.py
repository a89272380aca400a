"""Who speaks, and which episode it is."""

from typing import Any

import msgspec

Role = str
"""attacker, learner, critic, judge, supervisor, monitor, human, …"""

Seat = str
"""A PettingZoo agent name: a role and a number, ``critic_1``."""


def role_of(seat: Seat) -> Role:
    """Return the role of a seat: ``critic_1`` → ``critic``."""
    return seat.rpartition("_")[0] or seat


class EpisodeKey(msgspec.Struct, frozen=True, gc=False):
    """Everything that random numbers of one episode are derived from.

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
