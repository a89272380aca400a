"""Opponent pool: past checkpoints of a run, loaded and sampled case by case."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from superalign_agents.archive import Archive
from superalign_agents.search import Search
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_env.protocols import Agent
from superalign_env.seeding import mix
from superalign_env.store import Run
from superalign_env.store.agents import AgentRow, Agents
from superalign_env.types import AgentSpec, Reply, Role, View
from superalign_training.policy import Policy, SharedBase, read_agent
from superalign_training.policy.checkpoint import read_state
from superalign_training.selfplay.opponents.settings import WinRate, shares

_FINE = 1 << 20


class Member(NamedTuple):
    """One checkpoint of a role."""

    name: str
    """Hash of its row in the table of agents."""
    role: Role
    number: int
    """Place in the order of appearance within its role, from 0."""
    spec: AgentSpec
    path: str
    """Relative to the run; empty for what a role began with."""


MembersByRole = Mapping[Role, Sequence[Member]]
"""Everybody in a league, by role, oldest first."""


def members(agents: Agents, role: Role, *, current: str = "") -> list[Member]:
    """Return the accepted checkpoints of a role, oldest first.

    What the role began with is the first member, even where roles began with the same
    weights and hence share a row.

    Args:
        agents: of a run.
        role: whose.
        current: hash of the checkpoint that plays the role now, if there is one.

    Raises:
        RecordError: the record knows no such agent.
    """
    rows = agents.all()
    by_hash = {row.hash: row for row in rows}
    ours = {row.hash for row in rows if row.role == role}
    if current:
        ours.add(agents.get(current).hash)
    for name in tuple(ours):
        ours.update(row.hash for row in _ancestors(by_hash[name], by_hash))
    accepted = [row for row in rows if row.hash in ours and row.accepted is not False]
    return [
        Member(row.hash, role, number, row.spec, row.path)
        for number, row in enumerate(accepted)
    ]


def record_searcher(run: Run, search: Search, path: str, *, role: Role) -> str:
    """Record a search attacker with its archive as a member; return its name.

    Args:
        run: opened for work.
        search: the attacker.
        path: of the file that holds its state, relative to the run.
        role: in which it attacks.
    """
    return run.agents.add(search.spec, role=role, path=path)


class CheckpointLoader(NamedTuple):
    """Folder, device and shared bases for loading the checkpoints of a run."""

    folder: Path
    """Of the run."""
    device: str = "cpu"
    first: Callable[[Role], Policy] | None = None
    """Makes what a role began with; by its reference when absent."""
    base: Callable[[str], SharedBase] | None = None
    """Reference → what adapters stand on, loaded once for all; each on its own if absent."""


def load(member: Member, cache: CheckpointLoader) -> Agent:
    """Return the agent of a member.

    Raises:
        RecordDamaged: its checkpoint is missing or was altered.
    """
    if member.spec.id == "search":
        return _search(member, cache.folder)
    if member.path:
        return _checkpoint(member, cache)
    spec = member.spec
    if cache.first is None:
        reference = {"id": spec.id, **spec.options}
        policy = Policy.from_reference(reference, device=cache.device)
    else:
        policy = cache.first(member.role)
    if policy.hash != spec.policy:
        raise RecordDamaged(
            f"{spec.id} has other weights now than when this run began; restore them, or "
            "start a new run"
        )
    return policy.agent


def _checkpoint(member: Member, cache: CheckpointLoader) -> Agent:
    folder, spec = cache.folder / member.path, member.spec
    state = msgspec.structs.replace(read_state(folder), weights=spec.policy)
    base = cache.base(state.reference) if state.base and cache.base else None
    return read_agent(folder, state, base=base, device=cache.device)


def _search(member: Member, folder: Path) -> Search:
    options = dict(member.spec.options)
    search = Search(Archive(), **options)
    path = folder / member.path
    try:
        search.load_state_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordDamaged(
            f"{path} cannot be read ({error}); restore it from a copy, or start a new run"
        ) from error
    if search.archive.hash != member.spec.policy:
        raise RecordDamaged(
            f"{path} was altered: its content is not what the record names; restore it from "
            "a copy, or start a new run"
        )
    return search


def _ancestors(row: AgentRow, by_hash: dict[str, AgentRow]) -> list[AgentRow]:
    """Return the parents of a row, nearest first, without a query for each."""
    ancestors: list[AgentRow] = []
    while row.parent in by_hash and by_hash[row.parent] not in ancestors:
        row = by_hash[row.parent]
        ancestors.append(row)
    return ancestors


class OpponentPool:
    """An agent that plays each case as one of several agents, drawn by the number of the case.

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
            raise InvalidOption(
                "an opponent pool needs agents, and one share ≥ 0 for each of them"
            )
        total = sum(weights.values())
        if total <= 0:
            raise InvalidOption("an opponent pool needs at least one share above 0")
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
        return AgentSpec("opponent-pool", {"members": members, "seed": self._seed})

    def chosen(self, case: int) -> str:
        """Return the name of the agent that plays a case."""
        point = mix(self._seed, case) % _FINE / _FINE
        for name, share in self._shares.items():
            point -= share
            if point < 0:
                return name
        return next(reversed(self._shares))

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return the replies of the case's agent to each view."""
        replies: dict[int, Reply] = {}
        for name, agent in self._agents.items():
            places = [i for i, view in enumerate(views) if self.chosen(view.case) == name]
            if places:
                agent_replies = agent.act([views[i] for i in places])
                replies.update(zip(places, agent_replies, strict=True))
        return [replies[i] for i in range(len(views))]


class PastOpponents(NamedTuple):
    """Sampled members of a league, loaded, and the share of cases of each."""

    agents: dict[str, Agent]
    """``league-<hash>`` → agent."""
    shares: dict[str, float]
    """The same names → share of the cases that the league plays; together 1."""

    def joined(
        self,
        others: Mapping[str, Agent],
        *,
        share: float,
        shares: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> OpponentPool:
        """Return an opponent pool of these and of others.

        Who plays a case depends on its number alone, so all members of a group meet the
        same opponent and its mean stays a fair baseline.

        Args:
            others: name → agent, such as the current opponents.
            share: of cases that the league plays, in [0, 1].
            shares: of the others among themselves, any positive scale; equal when absent.
            seed: of the draw.

        Raises:
            InvalidOption: a share outside [0, 1], or shares that do not fit the others.
        """
        if not 0.0 <= share <= 1.0:
            raise InvalidOption(f"share must lie in [0, 1], not {share}")
        weights = dict.fromkeys(others, 1.0) if shares is None else dict(shares)
        total = sum(weights.values())
        if set(weights) != set(others) or (share < 1.0 and total <= 0):
            raise InvalidOption(
                "who plays beside the league needs one share each, one of them above 0"
            )
        return OpponentPool(
            {**others, **self.agents},
            shares={
                **{n: (1.0 - share) * s / (total or 1.0) for n, s in weights.items()},
                **{n: share * s for n, s in self.shares.items()},
            },
            seed=seed,
        )


def load_past_opponents(
    league: Sequence[Member],
    cache: CheckpointLoader,
    *,
    sampling: str = "prioritised",
    beaten: Mapping[str, WinRate] | None = None,
    power: float = 2.0,
    max_opponents: int = 8,
) -> PastOpponents:
    """Sample members of a league, and load them.

    Args:
        league: of one role, oldest first.
        cache: where they lie.
        sampling: `latest`, `uniform` or `prioritised`; see `sampling`.
        beaten: member → how often it beat the agent that is trained, as critics say.
        power: exponent of `prioritised`.
        max_opponents: so many are loaded at most.

    Raises:
        UnknownId: no such sampling rule.
        InvalidOption: an empty league.
        RecordDamaged: a checkpoint is missing or was altered.
    """
    names = [member.name for member in league]
    rates = shares(sampling, names, beaten=beaten, power=power, max_opponents=max_opponents)
    sampled = [member for member in league if member.name in rates]
    return PastOpponents(
        {_label(m.name): load(m, cache) for m in sampled},
        {_label(m.name): rates[m.name] for m in sampled},
    )


def _label(name: str) -> str:
    return f"league-{name[:12]}"
