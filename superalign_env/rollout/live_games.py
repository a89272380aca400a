"""Live games side by side: their order, and the views that wait for each agent."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from superalign_env.admission import failure, is_plain, objection, with_text
from superalign_env.asking import (
    Anyone,
    ask_batch,
    give_up,
    landed,
    late,
    start,
    takes_any_time,
    waits,
)
from superalign_env.deadlines import Late
from superalign_env.errors import InvalidUtterance
from superalign_env.game import Game
from superalign_env.types import EpisodeKey, Reply, Seat, View

MakeGame = Callable[[EpisodeKey], Game]


class GameQueue:
    """Games in order: case by case, and member by member within a case.

    Args:
        make: makes the game of a key.
        first: key of the first episode.
        n_cases: how many cases.
        group: members of each case.
        fork_at: where the members of a case part; see `Rollouts`.
        copies: whether members are copied at the fork instead of played from the start.
    """

    def __init__(
        self,
        make: MakeGame,
        first: EpisodeKey,
        n_cases: int,
        *,
        group: int,
        fork_at: Seat | None,
        copies: bool,
    ) -> None:
        self._first = first
        self._group = group
        self._fork_at = fork_at
        self.branches = copies and fork_at is not None and group > 1
        """Whether members branch off: then `moved` must be told of every move."""
        self._games = self._from_start(make, n_cases)
        self._forked: deque[Game] = deque()
        self._whole: set[int] = set()
        self.total = n_cases * group

    def __iter__(self) -> Iterator[Game]:
        return self

    def __next__(self) -> Game:
        return self._forked.popleft() if self._forked else next(self._games)

    def moved(self, game: Game) -> None:
        """Fork the members of a game that has reached the fork."""
        case = game.key.case
        if case in self._whole and (game.over or self._fork_at in game.group):
            self._whole.remove(case)
            self._forked.extend(
                [game.fork(self._key(case, member)) for member in range(1, self._group)]
            )

    def _from_start(self, make: MakeGame, n_cases: int) -> Iterator[Game]:
        members = 1 if self.branches else self._group
        for case in range(self._first.case, self._first.case + n_cases):
            if self.branches:
                self._whole.add(case)
            for member in range(members):
                yield make(self._key(case, member))

    def _key(self, case: int, member: int) -> EpisodeKey:
        first = self._first
        return EpisodeKey(
            first.run, first.generation, first.round, case, member, first.take
        )


class LiveGame:
    """A game, the replies of its group so far, and how many of them are awaited."""

    __slots__ = ("awaited", "game", "plain", "replies")

    def __init__(self, game: Game) -> None:
        self.game = game
        self.replies: list[Reply] = []
        self.awaited = 0
        self.plain = True
        """Whether all of them are; see `superalign_env.admission.is_plain`."""


class _Queue:
    """The views that wait for one batching agent, and where its replies belong."""

    __slots__ = ("agent", "given_up", "places", "views")

    def __init__(self, agent: Anyone) -> None:
        self.agent = agent
        self.given_up = False
        self.views: list[View] = []
        self.places: list[tuple[LiveGame, int]] = []


class _Waiting:
    """An agent that waits, when it was last heard, and how often it was silent since."""

    __slots__ = ("agent", "heard", "silences")

    def __init__(self, agent: Anyone) -> None:
        self.agent = agent
        self.heard = 0.0
        self.silences = 0


class _Awaited(NamedTuple):
    """A reply that is awaited."""

    waiting: _Waiting
    live: LiveGame
    place: int
    began: float


_NOTHING = Reply("", error="no reply")

_NEARLY = 0.5
"""Share of the longest queue from which a queue counts as nearly as full. In red-team with
three agents batches are 0.83 of the live episodes so, 0.78 with a share of 1."""

_PATIENCE = 0.5
"""Seconds between two looks at the keyboard while replies are awaited."""


_MOST_SILENCES = 2
"""Timeouts in a row, without a reply between them, after which an agent that waits is not
asked again."""


def _strict(game: Game, reply: Reply) -> Reply:
    wrong = "" if reply.error else objection(reply.text, game.scenario.max_utterance)
    return failure(f"InvalidUtterance: {wrong}") if wrong else reply


class LiveGames:
    """Games that are played now.

    Args:
        agents: who sits where.
        timeout: seconds; see `superalign_env.asking.ask`.
    """

    def __init__(self, agents: Mapping[Seat, Anyone], timeout: float | None) -> None:
        self._timeout = timeout
        awaited = {s: agent for s, agent in agents.items() if waits(agent)}
        waiting = {id(agent): _Waiting(agent) for agent in awaited.values()}
        self._waiting = {s: waiting[id(agent)] for s, agent in awaited.items()}
        batching = {s: agent for s, agent in agents.items() if s not in self._waiting}
        queues = {id(agent): _Queue(agent) for agent in batching.values()}
        self._queue_of = {seat: queues[id(agent)] for seat, agent in batching.items()}
        self._queues = list(queues.values())
        self._fresh: list[LiveGame] = []
        self._pending: dict[Future[Reply], _Awaited] = {}
        self._landed: SimpleQueue[Future[Reply]] = SimpleQueue()
        self.live = 0

    def add(self, game: Game) -> None:
        """Seat a game that is not over."""
        self._fresh.append(LiveGame(game))
        self.live += 1

    def tick(self) -> list[Game]:
        """Ask one agent, apply the groups that are complete; return the games that moved.

        The batching agent with the most waiting views is asked; those of the others wait,
        so that games which are at different turns come together again and batches stay
        full. Replies of waiting agents are taken as they land; only where nothing else is
        to be done are they waited for.
        """
        for live in self._fresh:
            self._deal(live)
        self._fresh = []
        complete = self._collect(block=False)
        if not complete:
            queue = self._fullest()
            complete = self._ask(queue) if queue else self._collect(block=True)
        moved = []
        for live in complete:
            game = live.game
            try:
                game.step(live.replies, plain=live.plain)
            except InvalidUtterance:  # where texts are not repaired, that is a failure
                game.step([_strict(game, reply) for reply in live.replies])
            moved.append(game)
            if game.ending is None:
                self._fresh.append(live)
            else:
                self.live -= 1
        return moved

    def close(self) -> None:
        """Cancel replies that have not landed."""
        for future in self._pending:
            future.cancel()
        self._pending.clear()

    def _deal(self, live: LiveGame) -> None:
        """Queue the views of a game's group, or start those whose agents wait."""
        shown = live.game.asked
        live.replies = [_NOTHING] * len(shown)
        live.awaited = len(shown)
        live.plain = True
        for place, (seat, view) in enumerate(shown.items()):
            queue = self._queue_of.get(seat)
            if queue is None:
                self._start(live, place, view)
            else:
                queue.views.append(view)
                queue.places.append((live, place))

    def _fullest(self) -> _Queue | None:
        """Return the queue of the agent to ask next, None where none has a view.

        Of queues that are nearly as full the first in the order of seats, which is mostly
        the order of turns: its games then join those of a later seat.
        """
        most = max([len(queue.views) for queue in self._queues], default=0)
        enough = max(1.0, _NEARLY * most)
        return next((q for q in self._queues if len(q.views) >= enough), None)

    def _ask(self, queue: _Queue) -> list[LiveGame]:
        """Ask an agent for all its queued views; return games whose replies are complete."""
        views, places = queue.views, queue.places
        queue.views, queue.places = [], []
        complete = []
        answers = self._answers(queue, views)
        limit = places[0][0].game.scenario.max_utterance
        for (live, place), answer in zip(places, answers, strict=True):
            # Here, in a tight loop, it takes half the time that it takes in between rules.
            if is_plain(answer, limit):
                live.replies[place] = answer
            else:
                live.plain = False
                live.replies[place] = with_text(answer)
            live.awaited -= 1
            if not live.awaited:
                complete.append(live)
        return complete

    def _answers(self, queue: _Queue, views: list[View]) -> list[Any]:
        """Return the answers of an agent; one that hung once is not asked again."""
        why = late(queue.agent, self._timeout or 0.0)
        if queue.given_up:
            return [failure(f"{why} and is not asked again")] * len(views)
        try:
            return ask_batch(queue.agent, views, timeout=self._timeout)
        except Late:
            queue.given_up = True
            return [failure(why)] * len(views)

    def _start(self, live: LiveGame, place: int, view: View) -> None:
        waiting = self._waiting[view.seat]
        if waiting.silences >= _MOST_SILENCES:
            why = late(waiting.agent, self._timeout or 0.0)
            future: Future[Reply] = Future()
            future.set_result(failure(f"{why} and is not asked again"))
        else:
            future = start(waiting.agent, view)
        self._pending[future] = _Awaited(waiting, live, place, time.monotonic())
        future.add_done_callback(self._landed.put)

    def _collect(self, *, block: bool) -> list[LiveGame]:
        """Collect replies that landed; wait for one that completes a game if need be."""
        complete: list[LiveGame] = []
        patience = min(_PATIENCE, (self._timeout or 4 * _PATIENCE) / 4)
        while self._pending:
            try:
                future = self._landed.get(timeout=patience if block else 0.0)
            except Empty:
                if block:
                    complete += self._give_up()
                    block = not complete
                    continue
                break
            awaited = self._pending.pop(future, None)
            if awaited is None:  # given up before
                continue
            awaited.waiting.heard = time.monotonic()
            if awaited.waiting.silences < _MOST_SILENCES:
                awaited.waiting.silences = 0
            complete += _answered(awaited, landed(future))
            block = block and not complete
        return complete

    def _give_up(self) -> list[LiveGame]:
        """Give up replies of agents that were silent for too long; return complete games."""
        limit, now = self._timeout, time.monotonic()
        if limit is None:
            return []
        overdue = {
            future: awaited
            for future, awaited in self._pending.items()
            if now - max(awaited.began, awaited.waiting.heard) > limit
            and not takes_any_time(awaited.waiting.agent)
        }
        if not overdue:
            return []
        for future in overdue:
            del self._pending[future]
        for waiting in {id(a.waiting): a.waiting for a in overdue.values()}.values():
            waiting.silences += 1
        give_up(list(overdue))
        return [
            live
            for awaited in overdue.values()
            for live in _answered(awaited, failure(late(awaited.waiting.agent, limit)))
        ]


def _answered(awaited: _Awaited, reply: Reply) -> list[LiveGame]:
    """Add a reply to its game; return the game where that completes its group."""
    live = awaited.live
    live.plain = False
    live.replies[awaited.place] = reply
    live.awaited -= 1
    return [] if live.awaited else [live]
