"""Reading of an attacker's messages as a task of the source.

In the words of the source a query is read by `TaskSource.parse`. Where people write English,
any rewriting of a labelled seed request is a query that keeps the seed's intent, and the
seed's gold holds for it.
"""

from typing import NamedTuple

from superalign_env.intents import Intent, intent_of
from superalign_env.protocols import TaskSource
from superalign_env.types import SPLITS, Event, Seat, Split, Task, Turn


class ReadQuery(NamedTuple):
    """An attacker's messages, read as a query."""

    task: Task | None
    """None where the messages are no valid query."""
    intent: Intent | None = None
    """What became of the seed's intent; None where the text is a task of its own."""

    def events(self, seat: Seat, turn: int, otherwise: str) -> tuple[Event, ...]:
        """Return the event that says how the intent was decided.

        Args:
            seat: of the attacker.
            turn: of its message.
            otherwise: what it is called where it is not kept.
        """
        if self.intent is None:
            return ()
        intent = "kept" if self.intent.kept else otherwise
        evidence = {
            "intent": intent,
            "how": self.intent.how,
            "share": round(self.intent.share, 3),
        }
        return (Event("query.intent", seat, turn, evidence),)


def messages_of(turns: tuple[Turn, ...]) -> list[str]:
    """Return what was said to the learner so far."""
    return [turn.text for turn in turns if turn.author == "user"]


def read_query(
    source: TaskSource, split: Split, seed: Task, messages: list[str], *, rewrites: bool
) -> ReadQuery:
    """Return the task that an attacker's messages ask for.

    Args:
        source: reads the last message as a task of its own, if it is one.
        split: which tasks are valid.
        seed: the seed request.
        messages: the attacker's, in order.
        rewrites: whether a text that keeps the seed's intent is valid, too.
    """
    text = messages[-1]
    task = source.parse(text, split)
    if not rewrites or (task is not None and source.gold(task).label):
        return ReadQuery(task)
    if not source.gold(seed).label:
        return ReadQuery(task)
    if _held_out(source, split, text):
        return ReadQuery(None)
    intent = intent_of(seed.prompt, "\n".join(messages))
    return ReadQuery(seed if intent.kept else None, intent)


def _held_out(source: TaskSource, split: Split, text: str) -> bool:
    """Return whether a text is a task of another split."""
    for other in SPLITS:
        task = source.parse(text, other) if other != split else None
        if task is not None and source.gold(task).label:
            return True
    return False
