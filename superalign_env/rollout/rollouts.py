"""Many episodes at once."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from typing import Any, TypeVar, get_args

from msgspec.structs import replace

from superalign_env.asking import TIMEOUT, require_timeout
from superalign_env.errors import InvalidOption, hint, nearest, require_one_of
from superalign_env.game import Game, OnInvalid
from superalign_env.lookup import make_scenario
from superalign_env.protocols import EpisodeSink, PreparingSink, Scenario, remembers
from superalign_env.recording import episode_id
from superalign_env.rollout.blocks import Player, Plays, PreparingPlayer, cut_blocks
from superalign_env.rollout.executors import (
    Executor,
    ExecutorName,
    check_executor,
    opened_executor,
)
from superalign_env.rollout.live_games import GameQueue, LiveGames
from superalign_env.rollout.sinks import OnProgress, Outbox, hand_over, reporting
from superalign_env.seating import AgentLike, recordable_specs, seated
from superalign_env.seeding import whole_number, whole_seed
from superalign_env.types import Episode, EpisodeKey, Seat, Task

_PlayedT = TypeVar("_PlayedT")


class Rollouts:
    """The engine: many live episodes, every agent asked once per tick for all of them.

    The slot of an ended episode is filled at once. Agents that wait (`AsyncAgent`)
    advance each episode as its own reply lands. Transcripts depend on keys only: any
    ``live`` gives the same episodes as `play` does, provided that agents answer from the
    view alone or from state keyed by ``view.episode``.

    An agent that raises, is too late or returns too few replies ends episodes as failed;
    all others go on. After an exception the views are asked one by one, so that only those
    fail that it cannot answer (an agent with memory is not asked twice). Only an interrupt
    ends the rollout.

    In several processes scripted agents say the same words, whatever the number of
    processes; those of transformers depend, beside the weights, on ``live`` and ``group``,
    which cut the cases into blocks, and on how many threads torch has. Agents and scenario
    travel by pickle. What an agent gathers there does not come back; where that would
    change its ``state_dict`` it is an error. Sinks and progress stay here.

    Args:
        scenario: the rules, or their id (then with the options they have by default).
        agents: who sits in which seat: agents, functions from text to text, or references
            such as ``search``; one object may sit in several.
        run: seed of the run.
        generation: part of every key.
        round: part of every key.
        first_case: number of the first case.
        take: number of this play, where the same cases are played again with the same seeds.
        group: how often each case is played.
        fork_at: None plays a case ``group`` times from its start. With a seat, all members
            share one prefix, up to the first view of that seat, and part there.
        live: episodes that are played at once (in each process).
        sinks: get finished episodes in batches, in no particular order.
        on_invalid: ``penalise`` a text that is no utterance, or (``raise``) end its
            episode as failed.
        timeout: seconds that an agent may take without giving a reply: for a call of one that
            batches, since its last reply for one that waits. Then its episodes fail, and
            one that batches is not asked again. None waits for ever.
        tasks: what the cases are about, in order; drawn from the source when absent.
        progress: True for a bar, or a function of (done, total).
        executor: ``local``, ``process`` (one for every core, ended afterwards), or what is
            kept from rollout to rollout: `superalign_env.Processes`.

    Raises:
        InvalidOption: numbers below 1, an empty or an unknown seat, an unknown executor.
    """

    def __init__(  # noqa: PLR0913 - the key's fields are named one by one
        self,
        scenario: str | Scenario[Any],
        agents: Mapping[Seat, AgentLike],
        *,
        run: int = 0,
        generation: int = 0,
        round: int = 0,
        first_case: int = 0,
        take: int = 0,
        group: int = 1,
        fork_at: Seat | None = None,
        live: int = 64,
        sinks: Sequence[EpisodeSink] = (),
        on_invalid: OnInvalid = "penalise",
        timeout: float | None = TIMEOUT,
        tasks: Sequence[Task] | None = None,
        progress: bool | OnProgress | None = None,
        executor: ExecutorName | Executor = "local",
    ) -> None:
        group = whole_number("group", group, least=1)
        live = whole_number("live", live, least=1)
        require_timeout(timeout)
        require_one_of("on_invalid", on_invalid, get_args(OnInvalid))
        check_executor(executor)
        scenario = make_scenario(scenario)
        if fork_at is not None and fork_at not in scenario.seats:
            raise InvalidOption(
                f"fork_at={fork_at!r} is no seat of {scenario.id}; "
                f"{hint(nearest(str(fork_at), scenario.seats), scenario.seats, listed='its seats')}"
            )
        sinks = _several("sinks", sinks)
        tasks = None if tasks is None else _several("tasks", tasks)
        for task in tasks or ():
            if not isinstance(task, Task):
                raise InvalidOption(
                    f"{task!r} is no Task; take some from {scenario.id}'s source, "
                    "scenario.source.parse(text, split)"
                )
        self.scenario = scenario
        self.agents = seated(scenario, agents)
        self.first = EpisodeKey(
            whole_seed(run),
            whole_number("generation", generation),
            whole_number("round", round),
            whole_number("first_case", first_case),
            take=whole_number("take", take),
        )
        self.group = group
        self.fork_at = fork_at
        self.live = live
        self.sinks = sinks
        self.on_invalid: OnInvalid = on_invalid
        self.timeout = timeout
        self.tasks = tasks
        self.progress = progress
        self.executor = executor
        self._specs = recordable_specs(self.agents)

    def run(self, n_cases: int | None = None) -> list[Episode]:
        """Play cases to their end and return all episodes: case by case, member by member.

        Args:
            n_cases: how many; as many as there are tasks when absent.

        Raises:
            InvalidOption: neither a number nor tasks, more cases than tasks, or agents that
                cannot travel to other processes.
            WorkerLost: a process that played has died.
        """
        return sorted(self._play(n_cases), key=lambda e: (e.key.case, e.key.member))

    def stream(self, n_cases: int | None = None) -> Generator[Episode, None, None]:
        """Yield episodes as they end, in no particular order. Arguments as `run`.

        Whoever stops early closes it, so that sinks get what has ended.
        """
        yield from self._play(n_cases)

    def record(self, n_cases: int | None = None) -> int:
        """Play cases for the sinks alone, and return the number of episodes.

        Other processes then make ready what goes to disk, where all sinks are such as
        `EpisodeWriter`, and no episode travels, which is faster. Arguments and errors as
        `run`.
        """
        sinks = [sink for sink in self.sinks if isinstance(sink, PreparingSink)]
        if self.executor == "local" or len(sinks) < len(self.sinks):
            return sum([1 for _ in self.stream(n_cases)])
        n_cases = self._count(n_cases)
        player = PreparingPlayer(self._player(), [sink.preparing() for sink in sinks])
        total = n_cases * self.group
        done = 0
        with (
            closing(self._dealt(player, n_cases)) as returned,
            reporting(self.progress, total) as report,
        ):
            for ready in chain.from_iterable(returned):
                hand_over(sinks, ready.batches)
                done += ready.episodes
                report(done, total)
        return done

    def _play(self, n_cases: int | None) -> Iterator[Episode]:
        n_cases = self._count(n_cases)
        total = n_cases * self.group
        outbox = Outbox(self.sinks)
        play = self._here if self.executor == "local" else self._elsewhere
        done = 0
        try:
            with closing(play(n_cases)) as ended, reporting(self.progress, total) as report:
                for episodes in ended:
                    outbox.put(episodes)
                    for episode in episodes:
                        done += 1
                        report(done, total)
                        yield episode
        finally:
            # Also after Ctrl-C: what has ended is kept.
            outbox.flush()

    def _here(self, n_cases: int) -> Generator[list[Episode], None, None]:
        """Yield the episodes that end, tick by tick."""
        queue = self._queue(n_cases)
        games = LiveGames(self.agents, self.timeout)
        try:
            left = queue.total
            while left:
                moved = self._fill(games, queue)
                if games.live:
                    moved += games.tick()
                ended = []
                for game in moved:
                    if queue.branches:
                        queue.moved(game)
                    if game.ending is not None:
                        ended.append(game.episode())
                if ended:
                    left -= len(ended)
                    yield ended
        finally:
            games.close()

    def _elsewhere(self, n_cases: int) -> Generator[list[Episode], None, None]:
        """Yield episodes as other processes return them, block by block."""
        yield from self._dealt(self._player(), n_cases)

    def _player(self) -> Player:
        """Return the player of blocks of these cases."""
        first = self.first
        settings = {
            "run": first.run,
            "generation": first.generation,
            "take": first.take,
            "round": first.round,
            "group": self.group,
            "fork_at": self.fork_at,
            "live": self.live,
            "on_invalid": self.on_invalid,
            "timeout": self.timeout,
        }
        return Player(Rollouts, self.scenario, self.agents, settings)

    def _dealt(
        self, player: Plays[_PlayedT], n_cases: int
    ) -> Generator[list[_PlayedT], None, None]:
        """Yield the results of the cases, block by block, wherever they are played."""
        cut = cut_blocks(
            self.first.case, n_cases, self.tasks, live=self.live, group=self.group
        )
        with (
            opened_executor(self.executor) as executor,
            closing(executor.play(player, cut)) as returned,
        ):
            yield from returned

    def _fill(self, games: LiveGames, queue: GameQueue) -> list[Game]:
        """Seat games until enough are live; return those that were over at once."""
        over: list[Game] = []
        while games.live < self.live:
            game = next(queue, None)
            if game is None:
                break
            queue.moved(game)
            if game.over:
                over.append(game)
            else:
                games.add(game)
        return over

    def _count(self, n_cases: int | None) -> int:
        if n_cases is None:
            if self.tasks is None:
                raise InvalidOption("how many cases? Pass n_cases, or tasks")
            n_cases = len(self.tasks)
        n_cases = whole_number("the number of cases", n_cases)
        if self.tasks is not None and n_cases > len(self.tasks):
            raise InvalidOption(
                f"cannot play {n_cases} cases; there are {len(self.tasks)} tasks"
            )
        return n_cases

    def _queue(self, n_cases: int) -> GameQueue:
        return GameQueue(
            self._make,
            self.first,
            n_cases,
            group=self.group,
            fork_at=self.fork_at,
            # A copy would not have the memories that a stateful agent keeps by episode.
            copies=not any(remembers(agent) for agent in self.agents.values()),
        )

    def _make(self, key: EpisodeKey) -> Game:
        parent = ""
        if self.fork_at is not None and key.member:
            parent = episode_id(replace(key, member=0))
        return Game(
            self.scenario,
            key,
            task=self.tasks[key.case - self.first.case] if self.tasks is not None else None,
            seats=self._specs,
            on_invalid=self.on_invalid,
            fork_at=self.fork_at,
            parent=parent,
        )


def _several(name: str, values: Any) -> tuple[Any, ...]:
    """Return the values of an option that takes several.

    Raises:
        InvalidOption: it is one thing, or a text.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidOption(
            f"{name}={values!r} is no list of {name}; put it into one: [ … ]"
        )
    return tuple(values)
