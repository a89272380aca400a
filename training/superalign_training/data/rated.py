"""Answers of a seat, rated by verdicts, labels and vetoes, as training examples.

An answer is worth the mean of its labels if it has any, else the mean score of the verdicts
about it; the same words to the same question are one answer. A vetoed answer is worse than
any other. Answers to one question (the prompt of a seat's first turn) are compared with each
other, be they a first answer and its revision or the answers of several members of a case.
Grades (the truth) are never read.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from superalign_env.canonical import content_hash
from superalign_env.types import Episode, Reply, Seat, Signal, Utterance
from superalign_training.data.examples import Example, Preference, UnpairedPreference

Ids = tuple[int, ...]

VETOED = -1.0
"""Worth of a vetoed answer, on a scale where others have [0, 1]."""


class RatedAnswer(NamedTuple):
    """One answer with the verdicts, labels and vetoes about it in its episode."""

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
    """Rating of an answer to a question over all episodes, and its sources."""

    value: float
    sources: tuple[str, ...]


Worths = Mapping[tuple[Ids, Ids], Worth]
"""(question, completion) → worth; answers that nobody judged are left out."""


def rated_answers(
    episodes: Iterable[Episode], seat: Seat, signals: Iterable[Signal] = ()
) -> list[RatedAnswer]:
    """Return a seat's answers, in the order of the episodes.

    Turns without token ids, cut off at a length limit, or repaired before anybody judged
    them are left out: their ids are not what was judged.

    Args:
        episodes: of any kind that verdicts or labels may be about.
        seat: who answered.
        signals: standing labels and vetoes; those about other episodes are ignored.
    """
    by_turn: dict[tuple[str, int], list[Signal]] = defaultdict(list)
    for signal in signals:
        by_turn[signal.episode, signal.turn].append(signal)
    return [answer for episode in episodes for answer in _answers(episode, seat, by_turn)]


def _answers(
    episode: Episode, seat: Seat, by_turn: Mapping[tuple[str, int], Sequence[Signal]]
) -> list[RatedAnswer]:
    turns = [
        (u, u.reply) for u in episode.utterances if u.seat == seat and u.reply is not None
    ]
    if not turns or not turns[0][1].prompt_ids:
        return []
    question, first_answer = turns[0][1].prompt_ids, turns[0][1].token_ids
    return [
        RatedAnswer(
            question,
            reply.prompt_ids,
            reply.token_ids,
            first_answer,
            tuple(
                fact.verdict.score
                for fact in episode.judged
                if fact.verdict is not None and fact.about == u.turn
            ),
            tuple(s.value for s in about if s.kind == "label"),
            any(s.kind == "veto" for s in about),
            tuple(
                content_hash(episode.seats[fact.seat])
                for fact in episode.judged
                if fact.verdict is not None and fact.about == u.turn
            ),
            tuple(s.source for s in about if s.kind in ("label", "veto")),
            (episode.id, u.turn),
        )
        for u, reply in turns
        if _usable(u, reply)
        for about in [by_turn.get((episode.id, u.turn), ())]
    ]


def _usable(utterance: Utterance, reply: Reply) -> bool:
    complete = bool(reply.prompt_ids and reply.token_ids) and reply.finish != "length"
    return complete and not utterance.repair and not reply.error


def worths(answers: Iterable[RatedAnswer]) -> dict[tuple[Ids, Ids], Worth]:
    """Return the rating of answers: a veto before labels, labels before verdicts."""
    pooled: dict[tuple[Ids, Ids], list[RatedAnswer]] = defaultdict(list)
    for answer in answers:
        pooled[answer.question, answer.completion_ids].append(answer)
    result: dict[tuple[Ids, Ids], Worth] = {}
    for key, same in pooled.items():
        people = tuple(
            sorted({name for same_answer in same for name in same_answer.people})
        )
        critics = tuple(
            sorted({name for same_answer in same for name in same_answer.critics})
        )
        labels = [value for same_answer in same for value in same_answer.labels]
        scores = [value for same_answer in same for value in same_answer.scores]
        if any(same_answer.vetoed for same_answer in same):
            result[key] = Worth(VETOED, people)
        elif labels:
            result[key] = Worth(sum(labels) / len(labels), people)
        elif scores:
            result[key] = Worth(sum(scores) / len(scores), critics)
    return result


def preferences(
    answers: Sequence[RatedAnswer],
    *,
    margin: float = 0.3,
    choices: Iterable[Signal] = (),
) -> list[Preference]:
    """Return preferences between answers to one question, rated apart by the margin.

    The best answer to a question is preferred to each that is worse by the margin. After
    critiques, the better of first answer and revision is preferred likewise. What people
    said of a pair goes before both, and a vetoed answer is never chosen.

    Args:
        answers: answers of one seat.
        margin: least difference in worth, in [0, 1].
        choices: standing signals of the kind ``preference``; others are ignored.
    """
    worth_of = worths(answers)
    pairs = _Pairs(worth_of, margin)
    for question, candidates in _by_question(worth_of).items():
        for worse in candidates[1:]:
            pairs.compare(question, question, candidates[0], worse)
    for answer in answers:
        if answer.prompt_ids != answer.question:
            pairs.compare(
                answer.prompt_ids, answer.question, answer.first, answer.completion_ids
            )
    for choice in _choices(answers, choices, worth_of):
        pairs.insist(choice)
    return list(pairs.noted.values())


def unpaired(answers: Sequence[RatedAnswer], choices: Iterable[Signal]) -> int:
    """Return the number of preferences between members without two answers to one prompt.

    Answers that were cut off or repaired are left out by `rated_answers`.
    """
    at = {answer.place: answer for answer in answers}
    return sum(
        choice.versus_episode is not None and _compared(at, choice) is None
        for choice in choices
    )


def unpaired_preferences(
    answers: Sequence[RatedAnswer], *, margin: float = 0.3
) -> list[UnpairedPreference]:
    """Return answers as good or bad, if their rating is far enough from 0.5.

    Args:
        answers: answers of one seat.
        margin: least difference in worth between a good and a bad answer.
    """
    worth_of = worths(answers)
    rated: dict[tuple[Ids, Ids], UnpairedPreference] = {}
    for answer in answers:
        worth = worth_of.get((answer.question, answer.completion_ids))
        if (
            worth is not None
            and abs(worth.value - 0.5) >= margin / 2
            and worth.value != 0.5
        ):
            rated[answer.prompt_ids, answer.completion_ids] = UnpairedPreference(
                answer.prompt_ids, answer.completion_ids, worth.value > 0.5, worth.sources
            )
    return list(rated.values())


def examples(answers: Sequence[RatedAnswer], *, above: float = 0.65) -> list[Example]:
    """Return the best answer to each question as an example, if its rating is high enough.

    After critiques the same words should be said, whatever was said before them.

    Args:
        answers: answers of one seat.
        above: least worth of what is held up as an example.
    """
    worth_of = worths(answers)
    best = {
        question: candidates[0] for question, candidates in _by_question(worth_of).items()
    }
    noted: dict[Ids, Example] = {}
    for answer in answers:
        ids = best.get(answer.question)
        worth = worth_of.get((answer.question, ids)) if ids is not None else None
        if ids is not None and worth is not None and worth.value >= above:
            noted[answer.prompt_ids] = Example(answer.prompt_ids, ids, worth.sources)
    return list(noted.values())


class _Pairs:
    """Preferences between rated answers.

    Args:
        known: what answers are worth.
        margin: least difference.
    """

    def __init__(self, worth_of: Worths, margin: float) -> None:
        self.noted: dict[tuple[Ids, Ids, Ids], Preference] = {}
        self._known = worth_of
        self._margin = margin

    def compare(self, prompt: Ids, question: Ids, first: Ids, second: Ids) -> None:
        """Add the preference between two answers to a question if rated far apart."""
        high, low = self._known.get((question, first)), self._known.get((question, second))
        if high is None or low is None or first == second:
            return
        if low.value > high.value:
            (first, high), (second, low) = (second, low), (first, high)
        if high.value > low.value and high.value - low.value >= self._margin:
            sources = tuple(sorted({*high.sources, *low.sources}))
            self.noted[prompt, first, second] = Preference(prompt, first, second, sources)

    def insist(self, choice: Preference) -> None:
        """Add a preference, and remove the opposite one."""
        prompt, chosen, rejected, _ = choice
        self.noted.pop((prompt, rejected, chosen), None)
        self.noted[prompt, chosen, rejected] = choice


def replay_examples(
    answers: Sequence[RatedAnswer], *, source: str, agree: float = 0.0
) -> list[Example]:
    """Return a policy's own answers as examples, for replay during other training.

    The cross-entropy of samples of the earlier policy is the KL from it, up to a constant
    (learning without forgetting, Li and Hoiem 2016). They need not be right.

    Args:
        answers: answers of one speaker, perhaps several to each question.
        source: hash of that speaker.
        agree: 0 takes every answer; more takes only the commonest answer to a question, if
            at least this share of its answers is the same (Wang et al. 2022), which also
            lowers the entropy.
    """
    if not agree:
        return [
            Example(answer.question, answer.completion_ids, (source,)) for answer in answers
        ]
    counts_of: dict[Ids, Counter[Ids]] = defaultdict(Counter)
    for answer in answers:
        counts_of[answer.question][answer.completion_ids] += 1
    commonest = [
        (question, *counts.most_common(1)[0], counts.total())
        for question, counts in counts_of.items()
    ]
    return [
        Example(question, ids, (source,))
        for question, ids, count, total in commonest
        if count >= agree * total
    ]


def _by_question(worth_of: Worths) -> dict[Ids, list[Ids]]:
    """Return the judged answers of every question, best first; ties by their ids."""
    grouped: dict[Ids, list[Ids]] = defaultdict(list)
    for question, ids in worth_of:
        grouped[question].append(ids)
    return {
        question: sorted(several, key=lambda ids: (-worth_of[question, ids].value, ids))
        for question, several in grouped.items()
    }


def _is_vetoed(worth_of: Worths, question: Ids, ids: Ids) -> bool:
    worth = worth_of.get((question, ids))
    return worth is not None and worth.value == VETOED


def _choices(
    answers: Sequence[RatedAnswer], choices: Iterable[Signal], worth_of: Worths
) -> list[Preference]:
    """Return the preferences that most people share; a vetoed answer is never chosen.

    Two answers of one episode are compared as answers to its question; those of two members
    have been given to the same words, or they are left out.
    """
    at = {answer.place: answer for answer in answers}
    votes: dict[tuple[Ids, Ids, Ids, Ids], set[str]] = defaultdict(set)
    for signal in choices:
        pair = _compared(at, signal)
        if pair is None:
            continue
        first, second = pair
        if first.completion_ids != second.completion_ids and signal.value != 0.5:
            chosen, rejected = (first, second) if signal.value > 0.5 else (second, first)
            within = signal.versus_episode is None
            place = (first.question, first.question if within else first.prompt_ids)
            votes[*place, chosen.completion_ids, rejected.completion_ids].add(signal.source)
    return [
        Preference(prompt, chosen, rejected, tuple(sorted(voters)))
        for (question, prompt, chosen, rejected), voters in votes.items()
        if len(voters) > len(votes.get((question, prompt, rejected, chosen), ()))
        and not _is_vetoed(worth_of, question, chosen)
    ]


def _compared(
    at: Mapping[tuple[str, int], RatedAnswer], signal: Signal
) -> tuple[RatedAnswer, RatedAnswer] | None:
    """Return the two answers that a preference compares; None where it cannot be used."""
    first = at.get((signal.episode, signal.turn))
    second = at.get((signal.versus_episode or signal.episode, signal.versus))
    if signal.kind != "preference" or first is None or second is None:
        return None
    if signal.versus_episode is not None and first.prompt_ids != second.prompt_ids:
        return None
    return first, second
