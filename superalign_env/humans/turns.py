"""A person who holds a seat of a run, and is asked for every turn through its queue."""

import shlex
import time
from collections.abc import Callable, Sequence

from superalign_env.canonical import content_hash
from superalign_env.errors import InvalidOption
from superalign_env.store import Run, standing
from superalign_env.types import AgentSpec, Question, Reply, Signal, View

URGENT = 4.0
"""Above every other question: a whole batch of episodes stands still."""

POLL_SECONDS = 0.2
"""Between two looks at the queue."""


class SeatedPerson:
    """Files a question of the kind ``turn`` for every view, and waits for the words.

    A question is named by episode, seat and what is shown: a stage that is done again finds
    the words that were said the first time, and asks for no more. Who skips a turn passes:
    the episode fails.
    """

    takes_any_time = True

    def __init__(self) -> None:
        self._run: Run | None = None
        self._tell: Callable[[str], object] = lambda _: None

    @property
    def spec(self) -> AgentSpec:
        """Spec of a seat that people hold; signals name who answered."""
        return AgentSpec("human", {"queue": True})

    def __reduce__(self) -> str:
        raise TypeError("a person answers this run's questions; no other process can ask")

    def attach(self, run: Run, tell: Callable[[str], object]) -> None:
        """Say through which run's queue the person is asked.

        Args:
            run: opened for work.
            tell: is told again and again how many turns are waited for.
        """
        self._run, self._tell = run, tell

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Ask for all turns at once, and return when each was taken or passed.

        Raises:
            InvalidOption: there is no run whose queue could be used.
        """
        if self._run is None:
            raise InvalidOption(
                "a person in a seat is asked through the queue of a run; to play at this "
                "terminal use `superalign play`"
            )
        questions = [turn_question(view) for view in views]
        self._run.questions.ask(questions)
        ids = {question.id for question in questions}
        while True:
            answers = self._said(ids)
            unanswered = len(ids - set(answers))
            if not unanswered:
                return [_reply(answers[question.id]) for question in questions]
            command = f"superalign label {shlex.quote(str(self._run.path))} --as NAME"
            self._tell(f"{unanswered} turns wait for people: {command}")
            time.sleep(POLL_SECONDS)

    def _said(self, ids: set[str]) -> dict[str, Signal]:
        """Return question → what stands of what was said to it."""
        assert self._run is not None
        signals = self._run.signals
        answers = [*signals.read(kind="skip"), *signals.read(kind="turn")]
        return {s.question: s for s in standing(answers) if s.question in ids}


def turn_question(view: View) -> Question:
    """Return the question that asks a person for a turn; it says what the seat is shown."""
    menu = [f"  · {entry}" for entry in view.menu]
    prompt = "\n".join([f"{view.seat} in {view.episode}", view.text, *menu])
    return Question(
        content_hash(["turn", view.episode, view.seat, view.turn, view.text]),
        "turn",
        view.episode,
        view.turn,
        priority=URGENT,
        why=prompt,
    )


def _reply(answer: Signal) -> Reply:
    if answer.kind == "skip":
        return Reply("", finish="error", error="a person passed this turn")
    return Reply(str(answer.payload["text"]), finish="stop")
