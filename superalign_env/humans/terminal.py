"""Questions on the terminal, one key each."""

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TextIO

from superalign_env.humans.authority import proposed
from superalign_env.plain_text import quoted, terminal, without_surrogates
from superalign_env.store.questions import Questions
from superalign_env.types import Episode, Question, Utterance

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

    def show(self, text: str) -> None:
        print(terminal(text), file=self._screen or sys.stdout, flush=True)

    def ask(self) -> tuple[str, str]:
        """Return what was typed before and after the first semicolon; q at the end."""
        key, _, note = self.line().partition(";")
        return key.strip().casefold(), note.strip()

    def line(self) -> str:
        """Return what was typed; q at the end of the input."""
        line = (self._source or sys.stdin).readline()
        return without_surrogates(line or "q").strip()


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
        said = _heard(desk, asked, episode_of)
        if said.key == "q":
            break
        if said.key == "s":
            history.append(questions.skip(asked.id, annotator, why=said.note).id)
            skipped += 1
        elif said.key == "u" and history:
            questions.undo(history.pop(), annotator)
            undone += 1
        elif said.value is not None:
            given = questions.answer(
                asked.id, annotator, value=said.value, payload=said.payload
            )
            history.append(given.id)
            answered += 1
        else:
            lost = "nothing to take back"
            desk.show(lost if said.key == "u" else f"not understood: {said.key}")
    else:
        desk.show("\nnothing is open")
    return Tally(answered, skipped, undone)


def _heard(desk: _Screen, asked: Question, episode_of: Callable[[str], Episode]) -> _Said:
    """Show one question and return what was typed."""
    turn = asked.kind == "turn"  # its episode is not recorded yet
    rival = asked.versus_episode
    other = None if rival is None else episode_of(rival)
    text = asked.why if turn else shown(asked, episode_of(asked.episode), other)
    if turn or asked.kind == "answer":
        desk.show(f"\n{text}\n{_TURN if turn else _WRITING}\n{_WRITING_KEYS}")
        line = desk.line()
        if line.casefold() in ("q", "s", "u"):
            return _Said(line.casefold())
        words = line.removeprefix("=").strip()
        return _Said(line, 1.0, payload={"text": words}) if words else _Said(line)
    scale, prompt = _SCALES.get(asked.kind, _DEFAULT_SCALE)
    if wish := proposed(asked):
        scale, prompt = _YES_NO, f"{wish}\nshall it be done? y, or n: one no forbids it"
    desk.show(f"\n{text}\n{prompt}\n{_KEYS}")
    key, note = desk.ask()
    return _Said(key, scale.get(key), note, {"note": note} if note else {})


def shown(question: Question, episode: Episode, other: Episode | None = None) -> str:
    """Return what a person reads: the task, what was said, and what is asked about.

    Neither grades nor rewards nor what other sources said are shown. Who is to write an
    answer does not read the one that was given, nor those that were given beside it.

    Args:
        question: that is asked.
        episode: it is about.
        other: the other episode of a pair, where there is one. Nothing tells which is which.
    """
    if question.kind == "answer":
        return _open(question, episode)
    if other is not None:
        return _side_by_side(question, episode, other)
    last = max(question.turn, question.versus)
    pair = question.versus >= 0
    marks = {question.turn: "▶ 1 " if pair else "▶ ", question.versus: "▶ 2 "}
    lines = [
        f"{question.kind} on {episode.scenario}, {episode.id}",
        _task(episode),
    ]
    for said in episode.utterances:
        if said.turn <= last:
            lines.append(f"{marks.get(said.turn, '  ')}{_line(said)}")
    return "\n".join(lines)


def _side_by_side(question: Question, episode: Episode, other: Episode) -> str:
    """Return two answers after what was said before both of them."""
    lines = [
        f"{question.kind} on {episode.scenario}, two answers to the same",
        _task(episode),
    ]
    one, rival = _said_at(episode, question.turn), _said_at(other, question.versus)
    for said in episode.utterances:
        if one and said.group < one[0].group:
            lines.append(f"  {_line(said)}")
    marked = (("▶ 1", one), ("▶ 2", rival))
    return "\n".join([*lines, *[f"{mark} {_line(u)}" for mark, two in marked for u in two]])


def _open(question: Question, episode: Episode) -> str:
    """Return what was said before a turn, and the place where an answer is to stand."""
    asked = _said_at(episode, question.turn)
    lines = [f"{question.kind} on {episode.scenario}, {episode.id}", _task(episode)]
    for said in episode.utterances:
        if asked and said.group < asked[0].group:
            lines.append(f"  {_line(said)}")
    return "\n".join([*lines, f"▶ {asked[0].seat if asked else 'answer'}: …"])


def _task(episode: Episode) -> str:
    return f"  task: {quoted(episode.task.prompt)}"


def _line(said: Utterance) -> str:
    return f"{said.seat}: {quoted(said.text)}"


def _said_at(episode: Episode, turn: int) -> list[Utterance]:
    """Return the utterance of a turn; nothing where the episode has none."""
    return [said for said in episode.utterances if said.turn == turn]
