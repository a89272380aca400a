"""Hazards: answers of a deployment that critics score low. No gold labels."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from superalign_agents.archive import normalised
from superalign_env.canonical import content_hash
from superalign_env.final_answers import refuses
from superalign_env.types import Episode, Role, Seat, Task, Utterance, Verdict, role_of
from superalign_training.judging import last_answer

PLAIN = "seed"
"""Who asks a request that no attacker touched."""

AttackerOf = Callable[[int], str]
"""Number of a case → name of its attacker."""


class JudgedAnswer(NamedTuple):
    """One request with its judged answer."""

    episode: str
    turn: int
    """Of the answer."""
    query: str
    answer: str
    asked_by: str
    """`PLAIN`, or the name of the attacker."""
    score: float
    """Mean of the critics' scores."""
    scores: dict[str, float]
    """Hash of the critic → its score."""
    kind: str
    """Of fault: what most critics claim, else what the answer suggests."""


def query_of(episode: Episode) -> str:
    """Return the answered request."""
    return episode.queries[-1].text if episode.queries else episode.task.prompt


def judged_answers(
    episodes: Iterable[Episode], attacker_of: AttackerOf, role: Role, source: object
) -> list[JudgedAnswer]:
    """Return every judged answer, in the order of the episodes.

    Args:
        episodes: without planted answers.
        attacker_of: names the attacker of a case.
        role: whose answers.
        source: of the tasks; it says which answers refuse.
    """
    answers = []
    for episode in episodes:
        answer = last_answer(episode)
        if answer is not None and role_of(answer.seat) == role:
            judged = _judged(episode, answer, attacker_of, source)
            if judged is not None:
                answers.append(judged)
    return answers


def hazards_in(
    answers: Iterable[JudgedAnswer], score_threshold: float
) -> list[JudgedAnswer]:
    """Return the answers with a score below the threshold."""
    return [answer for answer in answers if answer.score < score_threshold]


def new_hazards(
    candidates: Sequence[JudgedAnswer],
    recorded: Iterable[tuple[str, str]] = (),
    *,
    similarity_threshold: float = 0.9,
    max_hazards: int = 48,
) -> list[JudgedAnswer]:
    """Return hazards that differ from recorded ones, the worst of each kind in turns.

    Two hazards are the same if they are of one kind and say the same (case, width and
    spaces aside) or nearly so: the words they share are at least `similarity_threshold` of all their words.

    Args:
        candidates: candidates.
        recorded: (kind, request) of hazards that are recorded already.
        similarity_threshold: share of words in common, in (0, 1]; 1 lets only the same words be the same.
        max_hazards: how many at most.
    """
    kept_by_kind: dict[str, list[JudgedAnswer]] = {}
    words_by_kind: dict[str, list[frozenset[str]]] = {}
    for kind, text in recorded:
        words_by_kind.setdefault(kind, []).append(_words(text))
    for candidate in sorted(
        candidates, key=lambda o: (o.score, normalised(o.query), o.episode)
    ):
        words = _words(candidate.query)
        earlier = words_by_kind.setdefault(candidate.kind, [])
        if not any(
            _shared(words, earlier_words) >= similarity_threshold
            for earlier_words in earlier
        ):
            earlier.append(words)
            kept_by_kind.setdefault(candidate.kind, []).append(candidate)
    return _by_turns([kept_by_kind[kind] for kind in sorted(kept_by_kind)], max_hazards)


def task_of(episode: Episode, parse: Callable[[str], Task | None]) -> Task | None:
    """Return the request of an episode as a task; None where it is not a task of its own.

    Args:
        episode: in which it was asked.
        parse: reads a text as a task of the source, as `TaskSource.parse` does.
    """
    query = query_of(episode)
    return episode.task if query == episode.task.prompt else parse(query)


def _judged(
    episode: Episode, answer: Utterance, attacker_of: AttackerOf, source: object
) -> JudgedAnswer | None:
    about = _verdicts(episode, answer)
    if not about:
        return None
    scores = [verdict.score for _, verdict in about]
    by_critic: dict[str, list[float]] = {}
    for seat, verdict in about:
        by_critic.setdefault(content_hash(episode.seats[seat]), []).append(verdict.score)
    return JudgedAnswer(
        episode.id,
        answer.turn,
        query_of(episode),
        answer.text,
        attacker_of(episode.key.case) if episode.queries else PLAIN,
        sum(scores) / len(scores),
        {
            name: sum(critic_scores) / len(critic_scores)
            for name, critic_scores in by_critic.items()
        },
        _kind(episode, answer, source),
    )


def _verdicts(episode: Episode, answer: Utterance) -> list[tuple[Seat, Verdict]]:
    """Return (seat, verdict) of every parsed verdict on an answer."""
    return [
        (fact.seat, fact.verdict)
        for fact in episode.judged
        if fact.verdict is not None and fact.about == answer.turn
    ]


def _kind(episode: Episode, answer: Utterance, source: object) -> str:
    claimed = Counter(
        fault.kind for _, verdict in _verdicts(episode, answer) for fault in verdict.faults
    )
    if claimed:
        return min(claimed, key=lambda kind: (-claimed[kind], kind))
    if refuses(source, episode.task, answer.text):
        return "over-refusal"
    is_choice = answer.text in episode.task.choices
    return "harm" if is_choice else "wrong"


def _words(text: str) -> frozenset[str]:
    return frozenset(normalised(text).split())


def _shared(first: frozenset[str], second: frozenset[str]) -> float:
    """Return the Jaccard index of two sets of words."""
    return len(first & second) / len(first | second) if first | second else 1.0


def _by_turns(queues: Sequence[Sequence[JudgedAnswer]], limit: int) -> list[JudgedAnswer]:
    longest = max(map(len, queues), default=0)
    turns = [queue[i] for i in range(longest) for queue in queues if i < len(queue)]
    return turns[:limit]
