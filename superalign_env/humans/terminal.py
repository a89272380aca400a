"""Questions on the terminal, one key each."""

import sys
from collections.abc import Callable
from typing import NamedTuple, TextIO

from superalign_env.plain_text import terminal, without_surrogates
from superalign_env.store.questions import Questions
from superalign_env.types import Episode, Question

_GRADES = {str(digit): digit / 9 for digit in range(10)}
_YES_NO = {"y": 1.0, "n": 0.0}
_PAIR = {"1": 1.0, "2": 0.0, "0": 0.5}

_SCALES: dict[str, tuple[dict[str, float], str]] = {
    "preference": (_PAIR, "which is better? 1, 2, or 0 for no difference"),
    "vote": (_YES_NO, "is it good? y or n"),
    "veto": ({"y": 0.0}, "must it never happen? y, or s if it may"),
}
_DEFAULT_SCALE = (_GRADES, "how good is it? 0 (bad) to 9 (good)")

_KEYS = (
    "s skips, u takes the last answer back, q leaves; words after a ; are kept as a note"
)


class Tally(NamedTuple):
    """What was done in one sitting."""

    answered: int
    skipped: int
    undone: int


class _Screen:
    """Where a person looks and types."""

    def __init__(self, source: TextIO | None, screen: TextIO | None) -> None:
        self._source = source
        self._screen = screen

    def show(self, text: str) -> None:
        print(terminal(text), file=self._screen or sys.stdout, flush=True)

    def ask(self) -> tuple[str, str]:
        """Return what was typed before and after the first semicolon; q at the end."""
        line = (self._source or sys.stdin).readline()
        key, _, note = without_surrogates(line or "q").partition(";")
        return key.strip().casefold(), note.strip()


def label(
    questions: Questions,
    annotator: str,
    *,
    episode_of: Callable[[str], Episode],
    source: TextIO | None = None,
    screen: TextIO | None = None,
) -> Tally:
    """Ask one person at the terminal until nothing is open or they leave.

    Args:
        questions: the queue, ``run.questions``.
        annotator: who sits there.
        episode_of: returns the record of an episode id, ``run.episode``.
        source: where keys are read from; standard input when absent.
        screen: where questions are shown; standard output when absent.
    """
    desk = _Screen(source, screen)
    answered = skipped = undone = 0
    history: list[int] = []
    while (asked := questions.claim(annotator)) is not None:
        scale, prompt = _SCALES.get(asked.kind, _DEFAULT_SCALE)
        desk.show(f"\n{shown(asked, episode_of(asked.episode))}\n{prompt}\n{_KEYS}")
        key, note = desk.ask()
        if key == "q":
            break
        if key == "s":
            history.append(questions.skip(asked.id, annotator, why=note).id)
            skipped += 1
        elif key == "u" and history:
            questions.undo(history.pop(), annotator)
            undone += 1
        elif key in scale:
            said = {"note": note} if note else {}
            given = questions.answer(asked.id, annotator, value=scale[key], payload=said)
            history.append(given.id)
            answered += 1
        else:
            desk.show("nothing to take back" if key == "u" else f"not understood: {key}")
    else:
        desk.show("\nnothing is open")
    return Tally(answered, skipped, undone)


def shown(question: Question, episode: Episode) -> str:
    """Return what a person reads: the task, what was said, and what is asked about.

    Neither grades nor rewards nor what other sources said are shown.
    """
    last = max(question.turn, question.versus)
    pair = question.versus >= 0
    marks = {question.turn: "▶ 1 " if pair else "▶ ", question.versus: "▶ 2 "}
    lines = [
        f"{question.kind} on {episode.scenario}, {episode.id}",
        f"  task: {episode.task.prompt}",
    ]
    for said in episode.utterances:
        if said.turn <= last:
            lines.append(f"{marks.get(said.turn, '  ')}{said.seat}: {said.text}")
    return "\n".join(lines)
