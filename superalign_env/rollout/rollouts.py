"""Many episodes at once."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from superalign_env.errors import InvalidOption
from superalign_env.game import Game, OnInvalid, episode_id
from superalign_env.lookup import make_scenario
from superalign_env.protocols import EpisodeSink, Scenario, Stateful
from superalign_env.rollout.lineup import Lineup
from superalign_env.rollout.outbox import Outbox
from superalign_env.rollout.progress import OnProgress, reporting
from superalign_env.rollout.seating import Sitter, seated
from superalign_env.rollout.table import Table
from superalign_env.types import Episode, EpisodeKey, Seat, Task


class Rollouts:
    """The engine: many live episodes, every agent asked once per tick for all of them.

    The slot of an ended episode is filled at once. Agents that wait (`AsyncAgent`)
    advance each episode as its own reply lands. Transcripts depend on keys only: any
    ``live`` gives the same episodes as `play` does, provided that agents answer from the
    view alone or from state keyed by ``view.episode``.

    An agent that raises, is too late or returns too few replies ends the episodes that
    it was asked for as failed; all others go on.

    Args:
        scenario: the rules, or their id (then with the options they have by default).
        agents: who sits in which seat: agents, functions from text to text, or references
            such as ``search``; one object may sit in several.
        run: seed of the run.
        generation: part of every key.
        round: part of every key.
        first_case: number of the first case.
        group: how often each case is played.
        fork_at: None plays a case ``group`` times from its start. With a seat, all members
            share one prefix, up to the first view of that seat, and part there.
        live: episodes that are played at once.
        sinks: get finished episodes in batches, in no particular order.
        on_invalid: ``penalise`` a text that is no utterance, or (``raise``) end its
            episode as failed.
        timeout: seconds; for a call of an agent that batches, for a reply of one that waits.
        tasks: what the cases are about, in order; drawn from the source when absent.
        progress: True for a bar, or a function of (done, total).

    Raises:
        InvalidOption: numbers below 1, an empty or an unknown seat.
    """

    def __init__(  # noqa: PLR0913 - the key's fields are named one by one
        self,
        scenario: str | Scenario[Any],
        agents: Mapping[Seat, Sitter],
        *,
        run: int = 0,
        generation: int = 0,
        round: int = 0,
        first_case: int = 0,
        group: int = 1,
        fork_at: Seat | None = None,
        live: int = 64,
        sinks: Sequence[EpisodeSink] = (),
        on_invalid: OnInvalid = "penalise",
        timeout: float | None = None,
        tasks: Sequence[Task] | None = None,
        progress: bool | OnProgress | None = None,
    ) -> None:
        for name, number in (("group", group), ("live", live)):
            if number < 1:
                raise InvalidOption(f"{name} must be at least 1, not {number}")
        scenario = make_scenario(scenario)
        if fork_at is not None and fork_at not in scenario.seats:
            raise InvalidOption(
                f"fork_at={fork_at!r} is no seat of {scenario.id}; "
                f"its seats are {', '.join(scenario.seats)}"
            )
        self.scenario = scenario
        self.agents = seated(scenario, agents)
        self.first = EpisodeKey(run, generation, round, first_case)
        self.group = group
        self.fork_at = fork_at
        self.live = live
        self.sinks = tuple(sinks)
        self.on_invalid: OnInvalid = on_invalid
        self.timeout = timeout
        self.tasks = tasks
        self.progress = progress
        self._specs = {seat: agent.spec for seat, agent in self.agents.items()}

    def run(self, n_cases: int | None = None) -> list[Episode]:
        """Play cases to their end and return all episodes: case by case, member by member.

        Args:
            n_cases: how many; as many as there are tasks when absent.

        Raises:
            InvalidOption: neither a number nor tasks, or more cases than tasks.
        """
        episodes = sorted(self._play(n_cases), key=lambda pair: pair[0])
        return [episode for _, episode in episodes]

    def stream(self, n_cases: int | None = None) -> Generator[Episode, None, None]:
        """Yield episodes as they end, in no particular order. Arguments as `run`.

        Whoever stops early closes it, so that sinks get what has ended.
        """
        for _, episode in self._play(n_cases):
            yield episode

    def _play(self, n_cases: int | None) -> Iterator[tuple[int, Episode]]:
        lineup = self._lineup(n_cases)
        table = Table(self.agents, self.timeout)
        outbox = Outbox(self.sinks)
        done = 0
        try:
            with reporting(self.progress, lineup.total) as report:
                while done < lineup.total:
                    moved = self._fill(table, lineup)
                    if table.live:
                        moved += table.tick()
                    for game in moved:
                        if lineup.branches:
                            lineup.moved(game)
                        if game.ending is not None:
                            done += 1
                            episode = game.episode()
                            outbox.put(episode)
                            report(done, lineup.total)
                            yield lineup.index(game), episode
        finally:
            # Also after Ctrl-C: what has ended is kept.
            table.close()
            outbox.flush()

    def _fill(self, table: Table, lineup: Lineup) -> list[Game]:
        """Seat games until enough are live; return those that were over at once."""
        over: list[Game] = []
        while table.live < self.live:
            game = next(lineup, None)
            if game is None:
                break
            lineup.moved(game)
            if game.over:
                over.append(game)
            else:
                table.add(game)
        return over

    def _lineup(self, n_cases: int | None) -> Lineup:
        if n_cases is None:
            if self.tasks is None:
                raise InvalidOption("how many cases? Pass n_cases, or tasks")
            n_cases = len(self.tasks)
        if n_cases < 0 or (self.tasks is not None and n_cases > len(self.tasks)):
            known = "" if self.tasks is None else f"; there are {len(self.tasks)} tasks"
            raise InvalidOption(f"cannot play {n_cases} cases{known}")
        return Lineup(
            self._make,
            self.first,
            n_cases,
            group=self.group,
            fork_at=self.fork_at,
            # A copy would not have the memories that a stateful agent keeps by episode.
            copies=not any(isinstance(agent, Stateful) for agent in self.agents.values()),
        )

    def _make(self, key: EpisodeKey) -> Game:
        parent = ""
        if self.fork_at is not None and key.member:
            first = self.first
            parent = episode_id(
                EpisodeKey(first.run, first.generation, first.round, key.case, 0)
            )
        return Game(
            self.scenario,
            key,
            task=self.tasks[key.case - self.first.case] if self.tasks is not None else None,
            seats=self._specs,
            on_invalid=self.on_invalid,
            fork_at=self.fork_at,
            parent=parent,
        )
