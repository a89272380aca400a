"""Blocks of cases, and picklable players that play them in another process."""

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from superalign_env.asking import Anyone, name_of, waits
from superalign_env.canonical import content_hash
from superalign_env.deadlines import end_process_if_stuck
from superalign_env.errors import InvalidOption, ProtocolError
from superalign_env.protocols import Scenario, remembers
from superalign_env.types import Episode, Seat, Task

_LEAST = 32
"""Episodes that are worth the way to another process."""


class Block(NamedTuple):
    """Consecutive cases that are played in one go."""

    first_case: int
    n_cases: int
    tasks: list[Task] | None
    """What they are about; drawn from the source when absent."""
    episodes: int
    """How many are played: every member of every case."""

    def __str__(self) -> str:
        """Return the numbers of the cases."""
        if self.n_cases == 1:
            return f"case {self.first_case}"
        return f"cases {self.first_case} to {self.first_case + self.n_cases - 1}"


def cut_blocks(
    first_case: int, n_cases: int, tasks: Sequence[Task] | None, *, live: int, group: int
) -> Iterator[Block]:
    """Cut cases into blocks of about ``live`` episodes.

    The cuts know nothing of who will play: a batch that a transformer is asked for is the
    same on every machine.
    """
    size = max(1, max(live, _LEAST) // group)
    for start in range(0, n_cases, size):
        count = min(size, n_cases - start)
        about = None if tasks is None else [tasks[start + i] for i in range(count)]
        yield Block(first_case + start, count, about, count * group)


_PlayedT = TypeVar("_PlayedT")


class Plays(Protocol[_PlayedT]):
    """Player of blocks, in any process that `packed` reaches."""

    def __call__(self, block: Block) -> list[_PlayedT]:
        """Return the results of a block, as `stream`."""
        ...

    def stream(self, block: Block) -> Iterator[_PlayedT]:
        """Yield the results of a block."""
        ...

    def packed(self) -> bytes:
        """Return this as bytes, by pickle."""
        ...


class Ready(NamedTuple):
    """A block whose episodes stayed where they were played."""

    episodes: int
    batches: list[Any]
    """What every sink wants of them."""


class _Plays(Protocol):
    def stream(self, n_cases: int | None = None) -> Iterator[Episode]: ...


class Player:
    """Player of blocks of one rollout, in this process or in another.

    Args:
        make: `superalign_env.rollout.Rollouts`, which cannot be imported here.
        scenario: the rules.
        agents: who sits where.
        settings: further arguments of ``make``, other than the cases.
    """

    def __init__(
        self,
        make: Callable[..., _Plays],
        scenario: Scenario[Any],
        agents: Mapping[Seat, Anyone],
        settings: Mapping[str, Any],
    ) -> None:
        self._make = make
        self._scenario = scenario
        self._agents = agents
        self._settings = settings
        self._memories: dict[Seat, str] | None = None

    def __call__(self, block: Block) -> list[Episode]:
        """Return the episodes of a block, as `stream`."""
        return list(self.stream(block))

    def stream(self, block: Block) -> Iterator[Episode]:
        """Yield the episodes of a block as they end.

        Raises:
            ProtocolError: an agent's ``state_dict`` has changed. Whoever made that agent
                would never see it.
        """
        end_process_if_stuck()
        if self._memories is None:
            self._memories = self._remembered()
        rollouts = self._make(
            self._scenario,
            self._agents,
            first_case=block.first_case,
            tasks=block.tasks,
            **self._settings,
        )
        yield from rollouts.stream(block.n_cases)
        for seat, memory in self._remembered().items():
            if memory != self._memories[seat]:
                raise ProtocolError(
                    f"{seat} ({name_of(self._agents[seat])}) has changed its state_dict while "
                    "it played in another process, where that is lost; use "
                    'executor="local", or change it between rollouts only'
                )

    def packed(self) -> bytes:
        """Return this player as bytes; an agent in several seats stays one.

        Raises:
            InvalidOption: names the seat whose agent cannot travel, or the scenario.
        """
        for seat, agent in self._agents.items():
            if waits(agent) and remembers(agent):  # before it costs anything
                raise InvalidOption(
                    f"{seat} ({name_of(agent)}) waits for its replies and keeps account of "
                    "them, which would be lost in another process; use "
                    'executor="local", where all episodes wait side by side'
                )
        try:
            return pickle.dumps(self, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # whatever a plug-in raises when it is pickled
            raise InvalidOption(self._culprit(error)) from error

    def _culprit(self, error: Exception) -> str:
        suspects = {f"{s} ({name_of(a)})": a for s, a in self._agents.items()}
        for name, suspect in {**suspects, self._scenario.id: self._scenario}.items():
            try:
                pickle.dumps(suspect, pickle.HIGHEST_PROTOCOL)
            except Exception as own:  # as above
                return (
                    f'{name} cannot travel to another process ({own}); use executor="local", '
                    "or a function or class that stands at the top level of a module, or a "
                    'reference such as "search"'
                )
        return f'this cannot travel to another process ({error}); use executor="local"'

    def _remembered(self) -> dict[Seat, str]:
        return {
            seat: content_hash(agent.state_dict())
            for seat, agent in self._agents.items()
            if remembers(agent)
        }


class PreparingPlayer:
    """Player whose episodes stay in its process: sinks get them prepared.

    Args:
        player: of the episodes.
        preparing: of every sink, see `superalign_env.protocols.PreparingSink`.
    """

    def __init__(
        self, player: Player, preparing: Sequence[Callable[[Sequence[Episode]], Any]]
    ) -> None:
        self._player = player
        self._preparing = tuple(preparing)

    def __call__(self, block: Block) -> list[Ready]:
        """Return the block, ready to be written."""
        return list(self.stream(block))

    def stream(self, block: Block) -> Iterator[Ready]:
        """Yield the block, ready to be written."""
        episodes = self._player(block)
        yield Ready(len(episodes), [prepare(episodes) for prepare in self._preparing])

    def packed(self) -> bytes:
        """Return this player as bytes.

        Raises:
            InvalidOption: see `Player.packed`.
        """
        self._player.packed()
        return pickle.dumps(self, pickle.HIGHEST_PROTOCOL)
