"""Several agents in one seat, one for each case."""

from collections.abc import Mapping, Sequence

from superalign_env.errors import InvalidOption
from superalign_env.protocols import Agent
from superalign_env.seeding import mix
from superalign_env.types import AgentSpec, Reply, View

_FINE = 1 << 20


class Mixture:
    """Seats one of several agents in each case, by the case's number alone.

    All members of a case therefore meet the same opponent, and which one it is does not
    depend on what else is played. Reply by reply the record names who spoke.

    Args:
        agents: name → agent that answers in batches.
        shares: name → how often, any positive scale; equal when absent.
        seed: of the draw.

    Raises:
        InvalidOption: nobody, or shares that do not fit the agents.
    """

    def __init__(
        self,
        agents: Mapping[str, Agent],
        *,
        shares: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        weights = dict.fromkeys(agents, 1.0) if shares is None else dict(shares)
        if not agents or set(weights) != set(agents) or min(weights.values()) < 0:
            raise InvalidOption("a mixture needs agents and one share ≥ 0 for each of them")
        total = sum(weights.values())
        if total <= 0:
            raise InvalidOption("a mixture needs at least one share above 0")
        self._agents = dict(agents)
        self._shares = {name: share / total for name, share in weights.items()}
        self._seed = seed

    @property
    def spec(self) -> AgentSpec:
        """The members and their shares."""
        members = {
            name: {
                "id": agent.spec.id,
                "policy": agent.spec.policy,
                "share": self._shares[name],
            }
            for name, agent in self._agents.items()
        }
        return AgentSpec("mixture", {"members": members, "seed": self._seed})

    def chosen(self, case: int) -> str:
        """Return the name of the agent that plays a case."""
        point = mix(self._seed, case) % _FINE / _FINE
        for name, share in self._shares.items():
            point -= share
            if point < 0:
                return name
        return next(reversed(self._shares))

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return each chosen agent's replies, in the order of the views."""
        replies: dict[int, Reply] = {}
        for name, agent in self._agents.items():
            places = [i for i, view in enumerate(views) if self.chosen(view.case) == name]
            if places:
                agent_replies = agent.act([views[i] for i in places])
                replies.update(zip(places, agent_replies, strict=True))
        return [replies[i] for i in range(len(views))]
