"""Questions on the terminal, one key each."""

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TextIO

from superalign_env.errors import InvalidUtterance
from superalign_env.humans.authority import proposed
from superalign_env.humans.keyboard import typed_line
from superalign_env.plain_text import MARK, inline, marked, screen_width
from superalign_env.store.questions import Questions
from superalign_env.types import Episode, Question, Utterance

_WIDTH = 80
"""Columns of a screen that does not say how many it has."""

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

_WRITING = "what ought to be said at ▶? Write it in one line"

_TURN = "it is your turn: what do you say? Write it in one line"

_WRITING_KEYS = (
    "s skips, u takes the last answer back, q leaves; a line that begins with = says the "
    "rest of it, whatever that is"
)


class Tally(NamedTuple):
    """What was done in one sitting."""

    answered: int
    skipped: int
    undone: int


class _Said(NamedTuple):
    """What a person typed."""

    key: str
    value: float | None = None
    """None where it answers nothing."""
    note: str = ""
    payload: Mapping[str, Any] = MappingProxyType({})


class _Screen:
    """Where a person looks and types."""

    def __init__(self, source: TextIO | None, screen: TextIO | None) -> None:
        self._source = source
        self._screen = screen
        self.width = screen_width() or _WIDTH

    def show(self, *lines: str) -> None:
        """Print lines that are safe to be shown."""
        print(*lines, sep="\n", file=self._screen or sys.stdout, flush=True)

    def ask(self) -> tuple[str, str]:
        """Return what was typed before and after the first semicolon; q at the end."""
        key, _, note = self.line().partition(";")
        return key.strip().casefold(), note.strip()

    def line(self) -> str:
        """Return what was typed; q at the end of the input."""
        while True:
            try:
                line = typed_line(self._source or sys.stdin)
            except InvalidUtterance as refused:
                self.show(str(refused))
            else:
                return "q" if line is None else line.strip()


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
    while (question := questions.claim(annotator)) is not None:
        answer = _heard(desk, question, episode_of)
        if answer.key == "q":
            break
        if answer.key == "s":
            history.append(questions.skip(question.id, annotator, why=answer.note).id)
            skipped += 1
        elif answer.key == "u" and history:
            questions.undo(history.pop(), annotator)
            undone += 1
        elif answer.value is not None:
            signal = questions.answer(
                question.id, annotator, value=answer.value, payload=answer.payload
            )
            history.append(signal.id)
            answered += 1
        else:
            message = "nothing to take back"
            desk.show(
                message if answer.key == "u" else f"not understood: {inline(answer.key)}"
            )
    else:
        desk.show("", "nothing is open")
    return Tally(answered, skipped, undone)


def _heard(
    desk: _Screen, question: Question, episode_of: Callable[[str], Episode]
) -> _Said:
    """Show one question and return what was typed."""
    turn = question.kind == "turn"  # its episode is not recorded yet
    rival = question.versus_episode
    rival_episode = None if rival is None else episode_of(rival)
    lines = (
        marked(question.why, head=MARK, width=desk.width)
        if turn
        else shown(question, episode_of(question.episode), rival_episode, width=desk.width)
    )
    if turn or question.kind == "answer":
        desk.show("", *lines, _TURN if turn else _WRITING, _WRITING_KEYS)
        line = desk.line()
        if line.casefold() in ("q", "s", "u"):
            return _Said(line.casefold())
        words = line.removeprefix("=").strip()
        return _Said(line, 1.0, payload={"text": words}) if words else _Said(line)
    scale, prompt = _SCALES.get(question.kind, _DEFAULT_SCALE)
    if wish := proposed(question):
        scale, prompt = _YES_NO, "shall it be done? y, or n: one no forbids it"
        lines = [*lines, *marked(wish, head="  proposed: ", width=desk.width)]
    desk.show("", *lines, prompt, _KEYS)
    key, note = desk.ask()
    return _Said(key, scale.get(key), note, {"note": note} if note else {})


def shown(
    question: Question,
    episode: Episode,
    other: Episode | None = None,
    *,
    width: int | None = None,
) -> list[str]:
    """Return the lines that a person reads: the task, what was said, what is asked about.

    Neither grades nor rewards nor what other sources said are shown. Who is to write an
    answer does not read the one that was given, nor those that were given beside it. A line
    that begins with `MARK` goes on with what the seat above it said.

    Args:
        question: that is asked.
        episode: it is about.
        other: the other episode of a pair, where there is one. Nothing tells which is which.
        width: columns of the screen; None folds no line.
    """
    if question.kind == "answer":
        turns = _before(question, episode)
        utterance_here = _said_at(episode, question.turn)
        turns.append((f"▶ {utterance_here[0].seat if utterance_here else 'answer'}: ", "…"))
    elif other is not None:
        utterance, rival = (
            _said_at(episode, question.turn),
            _said_at(other, question.versus),
        )
        turns = _before(question, episode)
        turns += [
            (f"▶ {n} {u.seat}: ", u.text)
            for n, two in ((1, utterance), (2, rival))
            for u in two
        ]
    else:
        turns = _upto(question, episode)
    about = "two answers to the same" if other is not None else episode.id
    heading = inline(f"{question.kind} on {episode.scenario}, {about}")
    heads = [("", heading), ("  task: ", episode.task.prompt), *turns]
    return [n for head, text in heads for n in marked(text, head=head, width=width)]


def _upto(question: Question, episode: Episode) -> list[tuple[str, str]]:
    """Return (head, text) of all turns up to the last that is asked about, which are marked."""
    last_turn = max(question.turn, question.versus)
    pair = question.versus >= 0
    marks = {question.turn: "▶ 1 " if pair else "▶ ", question.versus: "▶ 2 "}
    return [
        (f"{marks.get(utterance.turn, '  ')}{utterance.seat}: ", utterance.text)
        for utterance in episode.utterances
        if utterance.turn <= last_turn
    ]


def _before(question: Question, episode: Episode) -> list[tuple[str, str]]:
    """Return (head, text) of the turns that were said before anybody could answer."""
    about = _said_at(episode, question.turn)
    return [
        (f"  {utterance.seat}: ", utterance.text)
        for utterance in episode.utterances
        if about and utterance.group < about[0].group
    ]


def _said_at(episode: Episode, turn: int) -> list[Utterance]:
    """Return the utterance of a turn; nothing where the episode has none."""
    return [utterance for utterance in episode.utterances if utterance.turn == turn]
