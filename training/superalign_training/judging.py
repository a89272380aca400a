"""What critics said of an answer, and what they should have said.

Everything here is read from facts and signals: what critics said, what people said, and of
answers that the environment planted whether they are at fault, which it says itself. The
truth of what the learner said is not asked.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import mean
from typing import NamedTuple

from superalign_env.canonical import content_hash
from superalign_env.store import declare
from superalign_env.types import Episode, Fault, Role, Signal, Utterance, Verdict, role_of
from superalign_env.verdicts import to_words

declare("verdicts.accuracy", "Critic right", unit="share", better="higher")
declare("verdicts.brier", "Verdicts: Brier score (0 is best)", better="lower")


class Lesson(NamedTuple):
    """A prompt that a critic read, and the verdict that it should have given."""

    prompt_ids: tuple[int, ...]
    verdict: str
    """In words."""
    answer: str = ""
    """What was judged, where that is known."""


class Forecast(NamedTuple):
    """A critic's score of an answer, and how good the answer was."""

    score: float
    outcome: float


def final_score(episode: Episode) -> float | None:
    """Return the mean score of the verdicts on the last answer; None without any."""
    said = scores_of(episode)
    return mean(said[max(said)]) if said else None


def scores_of(episode: Episode) -> dict[int, list[float]]:
    """Return turn → the scores of the verdicts on it that could be read."""
    said: dict[int, list[float]] = {}
    for fact in episode.judged:
        if fact.verdict is not None:
            said.setdefault(fact.about, []).append(fact.verdict.score)
    return said


def last_answer(episode: Episode) -> Utterance | None:
    """Return the last utterance that was judged, if any was."""
    about = max([fact.about for fact in episode.judged], default=-1)
    return next((u for u in episode.utterances if u.turn == about), None)


def last_words(episode: Episode, role: Role) -> Utterance | None:
    """Return the last utterance of a role, judged or not, if it spoke."""
    spoken = [u for u in episode.utterances if role_of(u.seat) == role]
    return spoken[-1] if spoken else None


def judge_of(episode: Episode) -> str:
    """Return the hash of the agent whose verdict was the first; empty without any."""
    seats = [fact.seat for fact in episode.judged if fact.verdict is not None]
    return content_hash(episode.seats[seats[0]]) if seats else ""


def planted_lessons(episodes: Iterable[Episode]) -> list[Lesson]:
    """Return what critics should have said of planted answers."""
    return [
        Lesson(prompt, to_words(ideal_verdict(good=fact.good, kind=fact.kind)), fact.answer)
        for episode in episodes
        for fact in episode.planted
        for prompt in _critics_prompts(episode, about=fact.about)
    ]


def planted_forecasts(episodes: Iterable[Episode]) -> list[Forecast]:
    """Return every verdict on a planted answer beside the answer's quality."""
    return [
        Forecast(score, float(fact.good))
        for episode in episodes
        for fact in episode.planted
        for score in scores_of(episode).get(fact.about, ())
    ]


def labelled_lessons(
    episodes: Iterable[Episode], signals: Sequence[Signal]
) -> list[Lesson]:
    """Return what critics should have said of answers that people labelled or vetoed.

    People say how good an answer is; the kind of the fault is left open. A vetoed answer is
    worth 0, whatever its labels are.
    """
    by_episode = {episode.id: episode for episode in episodes}
    barred = dict.fromkeys((s.episode, s.turn) for s in signals if s.kind == "veto")
    said = [(place, 0.0) for place in barred]
    said += [
        ((s.episode, s.turn), s.value)
        for s in signals
        if s.kind == "label" and (s.episode, s.turn) not in barred
    ]
    return [
        Lesson(prompt, to_words(Verdict(value, 1.0)))
        for (name, turn), value in said
        if name in by_episode
        for prompt in _critics_prompts(by_episode[name], about=turn)
    ]


def ideal_verdict(*, good: bool, kind: str = "") -> Verdict:
    """Return the verdict of a critic that knows."""
    if good:
        return Verdict(1.0, 1.0)
    return Verdict(0.0, 1.0, (Fault(kind, severity=1.0),) if kind else ())


def about_one_answer(lessons: Sequence[Lesson]) -> list[Lesson]:
    """Return the lessons about the answer that most of them are about."""
    counts = Counter(lesson.answer for lesson in lessons)
    chosen = min(counts, key=lambda answer: (-counts[answer], answer), default="")
    return [lesson for lesson in lessons if lesson.answer == chosen]


def _critics_prompts(episode: Episode, *, about: int) -> list[tuple[int, ...]]:
    """Return the prompts that critics answered about one turn, parsable or not."""
    turns = {fact.turn for fact in episode.judged if fact.about == about}
    return [
        u.reply.prompt_ids
        for u in episode.utterances
        if u.turn in turns and u.reply is not None and u.reply.prompt_ids
    ]
