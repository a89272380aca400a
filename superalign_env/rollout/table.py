"""Live games side by side: who waits for whom, tick by tick."""

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


_NOTHING = Reply("", error="no reply")

_PATIENCE = 0.5
"""Seconds between two looks at the keyboard while replies are awaited."""

Batch = tuple[Anyone, list[View], list[tuple[list[Reply], int]]]
"""An agent, what it is asked now, and where each of its replies belongs."""


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
        self._batching = {s: agent for s, agent in agents.items() if not waits(agent)}
        self._waiting = {s: agent for s, agent in agents.items() if waits(agent)}
        self._fresh: list[Hand] = []
        self._pending: set[Future[Reply]] = set()
        self._landed: SimpleQueue[tuple[Hand, int, Future[Reply]]] = SimpleQueue()
        self.live = 0

    def add(self, game: Game) -> None:
        """Seat a game that is not over."""
        self._fresh.append(Hand(game))
        self.live += 1

    def tick(self) -> list[Game]:
        """Ask everybody who is to speak, apply what came back; return the games that moved.

        Each batching agent is asked once for all games. Where only waiting agents are
        to speak, it waits for the first reply.
        """
        fresh, self._fresh = self._fresh, []
        complete = self._ask(fresh)
        complete += self._collect(block=not complete)
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

    def _ask(self, hands: list[Hand]) -> list[Hand]:
        """Ask for all hands; return those that have everything they need."""
        agents = {id(agent): agent for agent in self._batching.values()}
        batches: dict[int, Batch] = {name: (a, [], []) for name, a in agents.items()}
        batch_of = {seat: batches[id(a)] for seat, a in self._batching.items()}
        for hand in hands:
            shown = hand.game.views()
            hand.replies = replies = [_NOTHING] * len(shown)
            for place, view in enumerate(shown):
                batch = batch_of.get(view.seat)
                if batch is None:
                    self._start(hand, place, view)
                else:
                    batch[1].append(view)
                    batch[2].append((replies, place))
        for agent, views, places in batches.values():
            if views:
                answers = ask(agent, views, timeout=self._timeout)
                for (replies, place), reply in zip(places, answers, strict=True):
                    replies[place] = reply
        return [hand for hand in hands if not hand.awaited]

    def _start(self, hand: Hand, place: int, view: View) -> None:
        hand.awaited += 1
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
