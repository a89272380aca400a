"""Live games side by side: which views wait for which agent, and whom to ask next."""

from collections.abc import Mapping
from concurrent.futures import Future
from queue import Empty, SimpleQueue

from superalign_env.admission import objection
from superalign_env.asking import Anyone, ask, failure, start, waits
from superalign_env.errors import InvalidUtterance
from superalign_env.game import Game
from superalign_env.types import Reply, Seat, View


class Hand:
    """A game, the replies of its group so far, and how many of them are awaited."""

    __slots__ = ("awaited", "game", "replies")

    def __init__(self, game: Game) -> None:
        self.game = game
        self.replies: list[Reply] = []
        self.awaited = 0


class _Queue:
    """The views that wait for one batching agent, and where its replies belong."""

    __slots__ = ("agent", "places", "views")

    def __init__(self, agent: Anyone) -> None:
        self.agent = agent
        self.views: list[View] = []
        self.places: list[tuple[Hand, int]] = []


_NOTHING = Reply("", error="no reply")

_NEARLY = 0.5
"""Share of the longest queue from which a queue counts as nearly as full. In red-team with
three agents batches are 0.83 of the live episodes so, 0.78 with a share of 1."""

_PATIENCE = 0.5
"""Seconds between two looks at the keyboard while replies are awaited."""


def _strict(game: Game, reply: Reply) -> Reply:
    wrong = "" if reply.error else objection(reply.text, game.scenario.max_utterance)
    return failure(f"InvalidUtterance: {wrong}") if wrong else reply


class Table:
    """Games that are played now.

    Args:
        agents: who sits where.
        timeout: seconds; see `superalign_env.asking.ask`.
    """

    def __init__(self, agents: Mapping[Seat, Anyone], timeout: float | None) -> None:
        self._timeout = timeout
        self._waiting = {s: agent for s, agent in agents.items() if waits(agent)}
        batching = {s: agent for s, agent in agents.items() if s not in self._waiting}
        queues = {id(agent): _Queue(agent) for agent in batching.values()}
        self._queue_of = {seat: queues[id(agent)] for seat, agent in batching.items()}
        self._queues = list(queues.values())
        self._fresh: list[Hand] = []
        self._pending: set[Future[Reply]] = set()
        self._landed: SimpleQueue[tuple[Hand, int, Future[Reply]]] = SimpleQueue()
        self.live = 0

    def add(self, game: Game) -> None:
        """Seat a game that is not over."""
        self._fresh.append(Hand(game))
        self.live += 1

    def tick(self) -> list[Game]:
        """Ask one agent, apply the groups that are complete; return the games that moved.

        The batching agent with the most waiting views is asked; those of the others wait,
        so that games which are at different turns come together again and batches stay
        full. Replies of waiting agents are taken as they land; only where nothing else is
        to be done are they waited for.
        """
        for hand in self._fresh:
            self._deal(hand)
        self._fresh = []
        complete = self._collect(block=False)
        if not complete:
            queue = self._fullest()
            complete = self._ask(queue) if queue else self._collect(block=True)
        moved = []
        for hand in complete:
            game = hand.game
            try:
                game.step(hand.replies)
            except InvalidUtterance:  # where texts are not repaired, that is a failure
                game.step([_strict(game, reply) for reply in hand.replies])
            moved.append(game)
            if game.ending is None:
                self._fresh.append(hand)
            else:
                self.live -= 1
        return moved

    def close(self) -> None:
        """Give up on replies that have not landed."""
        for future in self._pending:
            future.cancel()
        self._pending.clear()

    def _deal(self, hand: Hand) -> None:
        """Queue the views of a game's group, or start those whose agents wait."""
        shown = hand.game.views()
        hand.replies = [_NOTHING] * len(shown)
        hand.awaited = len(shown)
        for place, view in enumerate(shown):
            queue = self._queue_of.get(view.seat)
            if queue is None:
                self._start(hand, place, view)
            else:
                queue.views.append(view)
                queue.places.append((hand, place))

    def _fullest(self) -> _Queue | None:
        """Return the queue of the agent to ask next, None where none has a view.

        Of queues that are nearly as full the first in the order of seats, which is mostly
        the order of turns: its games then join those of a later seat.
        """
        most = max([len(queue.views) for queue in self._queues], default=0)
        enough = max(1.0, _NEARLY * most)
        return next((q for q in self._queues if len(q.views) >= enough), None)

    def _ask(self, queue: _Queue) -> list[Hand]:
        """Ask an agent for all that waits for it; return hands that are now complete."""
        views, places = queue.views, queue.places
        queue.views, queue.places = [], []
        complete = []
        answers = ask(queue.agent, views, timeout=self._timeout)
        for (hand, place), reply in zip(places, answers, strict=True):
            hand.replies[place] = reply
            hand.awaited -= 1
            if not hand.awaited:
                complete.append(hand)
        return complete

    def _start(self, hand: Hand, place: int, view: View) -> None:
        future = start(self._waiting[view.seat], view, timeout=self._timeout)
        self._pending.add(future)
        future.add_done_callback(lambda done: self._landed.put((hand, place, done)))

    def _collect(self, *, block: bool) -> list[Hand]:
        """Take the replies that landed; wait for one that completes a hand if need be."""
        complete: list[Hand] = []
        while self._pending:
            try:
                hand, place, future = self._landed.get(timeout=_PATIENCE if block else 0.0)
            except Empty:
                if block:
                    continue
                break
            self._pending.discard(future)
            hand.replies[place] = future.result()
            hand.awaited -= 1
            if not hand.awaited:
                complete.append(hand)
                block = False
        return complete
