"""What the gate asks people, and what it waits for."""

import shlex
from collections.abc import Sequence
from typing import TypeVar

from superalign_env.errors import Halted
from superalign_env.seeding import generator
from superalign_env.store.questions import question_id
from superalign_env.types import Question, Signal
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.settings import Settings

Item = TypeVar("Item")


def label_question(episode: str, turn: int, round: int) -> Question:
    """Return the question how good an answer is; its label is never trained on."""
    return Question(
        question_id("label", episode, turn),
        "label",
        episode,
        turn,
        slice="random",
        priority=2.0,
        why="random slice",
        round=round,
    )


def unsaid_of(
    context: StageContext, asked: Sequence[Question], said: Sequence[Signal]
) -> int:
    """Return how many questions nobody answered, nor skipped."""
    skips = context.run.signals.standing(kind="skip")
    closed = {signal.question for signal in (*said, *skips)}
    return sum(question.id not in closed for question in asked)


def await_people(context: StageContext, settings: Settings, unsaid: int) -> None:
    """Stop where only real people are asked, until they have answered what was asked.

    Raises:
        Halted: says how they answer, and how the run goes on.
    """
    who = settings.signals.people
    if unsaid and who and not any(person.simulated for person in who):
        path = shlex.quote(str(context.run.path))
        raise Halted(
            f"the gate of generation {context.generation} waits for {unsaid} answers of "
            f"people: `superalign label {path} --as NAME`, then continue with --resume "
            f"run_dir={path} (gate.request_labels=0 gate.disagreement_labels=0 would ask nobody)"
        )


def some_of(
    items: Sequence[Item], count: int, context: StageContext, part: str
) -> list[Item]:
    """Return so many items, or all, drawn at random, in their order."""
    order = generator(context.seed_of(f"some-{part}")).permutation(len(items)).tolist()
    return [items[place] for place in sorted(order[: max(0, count)])]
