"""What a seat answered, and what was said of it: by verdicts, labels and vetoes.

What an answer to a question is worth is the mean of its labels if it has any, else the
mean score of the verdicts about it; the same words to the same question are one answer. A
vetoed answer is worse than any other. Grades (the truth) are never read.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from superalign_env.canonical import content_hash
from superalign_env.types import Episode, Reply, Seat, Signal, Utterance

Ids = tuple[int, ...]

VETOED = -1.0
"""Worth of a vetoed answer, on a scale where others have [0, 1]."""


class Answer(NamedTuple):
    """One answer, and what was said of it in its episode."""

    question: Ids
    """Prompt of the seat's first turn in the episode."""
    prompt_ids: Ids
    """What was read: the question, and for a revision the critiques too."""
    completion_ids: Ids
    first: Ids
    """The first answer of the episode."""
    scores: tuple[float, ...]
    """Of the verdicts about it."""
    labels: tuple[float, ...]
    """By people."""
    vetoed: bool
    critics: tuple[str, ...]
    """Hashes of the agents whose verdicts these are."""
    people: tuple[str, ...]
    """Who labelled or vetoed it."""
    place: tuple[str, int]
    """(episode, turn)."""


class Worth(NamedTuple):
    """What an answer to a question is worth, all in all."""

    value: float
    sources: tuple[str, ...]


Worths = Mapping[tuple[Ids, Ids], Worth]
"""(question, completion) → worth; without answers of which nothing was said."""


def answers(
    episodes: Iterable[Episode], seat: Seat, signals: Iterable[Signal] = ()
) -> list[Answer]:
    """Return a seat's answers, in the order of the episodes.

    Turns without token ids, cut off at a length limit, or repaired before anybody judged
    them are left out: their ids are not what was judged.

    Args:
        episodes: of any kind that verdicts or labels may be about.
        seat: who answered.
        signals: standing labels and vetoes; those about other episodes are ignored.
    """
    said: dict[tuple[str, int], list[Signal]] = defaultdict(list)
    for signal in signals:
        said[signal.episode, signal.turn].append(signal)
    return [answer for episode in episodes for answer in _answers(episode, seat, said)]


def _answers(
    episode: Episode, seat: Seat, said: Mapping[tuple[str, int], Sequence[Signal]]
) -> list[Answer]:
    spoken = [
        (u, u.reply) for u in episode.utterances if u.seat == seat and u.reply is not None
    ]
    if not spoken or not spoken[0][1].prompt_ids:
        return []
    question, first = spoken[0][1].prompt_ids, spoken[0][1].token_ids
    return [
        Answer(
            question,
            reply.prompt_ids,
            reply.token_ids,
            first,
            tuple(
                fact.verdict.score
                for fact in episode.judged
                if fact.verdict is not None and fact.about == u.turn
            ),
            tuple(s.value for s in heard if s.kind == "label"),
            any(s.kind == "veto" for s in heard),
            tuple(
                content_hash(episode.seats[fact.seat])
                for fact in episode.judged
                if fact.verdict is not None and fact.about == u.turn
            ),
            tuple(s.source for s in heard if s.kind in ("label", "veto")),
            (episode.id, u.turn),
        )
        for u, reply in spoken
        if _usable(u, reply)
        for heard in [said.get((episode.id, u.turn), ())]
    ]


def _usable(spoken: Utterance, reply: Reply) -> bool:
    whole = bool(reply.prompt_ids and reply.token_ids) and reply.finish != "length"
    return whole and not spoken.repair and not reply.error


def worths(found: Iterable[Answer]) -> dict[tuple[Ids, Ids], Worth]:
    """Return what answers are worth: a veto outdoes labels, labels outdo verdicts."""
    pooled: dict[tuple[Ids, Ids], list[Answer]] = defaultdict(list)
    for answer in found:
        pooled[answer.question, answer.completion_ids].append(answer)
    result: dict[tuple[Ids, Ids], Worth] = {}
    for key, same in pooled.items():
        people = tuple(sorted({name for one in same for name in one.people}))
        critics = tuple(sorted({name for one in same for name in one.critics}))
        labels = [value for one in same for value in one.labels]
        scores = [value for one in same for value in one.scores]
        if any(one.vetoed for one in same):
            result[key] = Worth(VETOED, people)
        elif labels:
            result[key] = Worth(sum(labels) / len(labels), people)
        elif scores:
            result[key] = Worth(sum(scores) / len(scores), critics)
    return result
