"""Lessons for a learner from what was said of its answers: critiques, revisions, labels.

Answers to one question (the prompt of a seat's first turn) are compared with each other,
be they a first answer and its revision or the answers of several members of a case. See
`answers` for what they are worth.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from superalign_env.types import Signal
from superalign_training.experience.answers import VETOED, Answer, Ids, Worths, worths
from superalign_training.experience.lessons import Example, Opinion, Preference


def preferences(
    found: Sequence[Answer],
    *,
    margin: float = 0.3,
    choices: Iterable[Signal] = (),
) -> list[Preference]:
    """Return which of two answers is better, wherever they differ by enough.

    The best answer to a question is preferred to each that is worse by the margin. After
    critiques, the better of first answer and revision is preferred likewise. What people
    said of a pair goes before both, and a vetoed answer is never chosen.

    Args:
        found: answers of one seat.
        margin: least difference in worth, in [0, 1].
        choices: standing signals of the kind ``preference``; others are ignored.
    """
    known = worths(found)
    pairs = _Pairs(known, margin)
    for question, candidates in _by_question(known).items():
        for other in candidates[1:]:
            pairs.compare(question, question, candidates[0], other)
    for answer in found:
        if answer.prompt_ids != answer.question:
            pairs.compare(
                answer.prompt_ids, answer.question, answer.first, answer.completion_ids
            )
    for choice in _choices(found, choices, known):
        pairs.insist(choice)
    return list(pairs.noted.values())


def unpaired(found: Sequence[Answer], choices: Iterable[Signal]) -> int:
    """Return how many preferences between members are about no two answers to one prompt.

    Answers that were cut off or repaired are none (`answers`).
    """
    at = {answer.place: answer for answer in found}
    return sum(
        choice.versus_episode is not None and _compared(at, choice) is None
        for choice in choices
    )


def opinions(found: Sequence[Answer], *, margin: float = 0.3) -> list[Opinion]:
    """Return whether answers are good, where they are far enough from a shrug (0.5).

    Args:
        found: answers of one seat.
        margin: least difference in worth between a good and a bad answer.
    """
    known = worths(found)
    noted: dict[tuple[Ids, Ids], Opinion] = {}
    for answer in found:
        worth = known.get((answer.question, answer.completion_ids))
        if (
            worth is not None
            and abs(worth.value - 0.5) >= margin / 2
            and worth.value != 0.5
        ):
            noted[answer.prompt_ids, answer.completion_ids] = Opinion(
                answer.prompt_ids, answer.completion_ids, worth.value > 0.5, worth.sources
            )
    return list(noted.values())


def examples(found: Sequence[Answer], *, above: float = 0.65) -> list[Example]:
    """Return what should be said: the best answer to each question, if it is good enough.

    After critiques the same words should be said, whatever was said before them.

    Args:
        found: answers of one seat.
        above: least worth of what is held up as an example.
    """
    known = worths(found)
    best = {question: candidates[0] for question, candidates in _by_question(known).items()}
    noted: dict[Ids, Example] = {}
    for answer in found:
        ids = best.get(answer.question)
        worth = known.get((answer.question, ids)) if ids is not None else None
        if ids is not None and worth is not None and worth.value >= above:
            noted[answer.prompt_ids] = Example(answer.prompt_ids, ids, worth.sources)
    return list(noted.values())


class _Pairs:
    """Preferences between answers whose worth is known.

    Args:
        known: what answers are worth.
        margin: least difference.
    """

    def __init__(self, known: Worths, margin: float) -> None:
        self.noted: dict[tuple[Ids, Ids, Ids], Preference] = {}
        self._known = known
        self._margin = margin

    def compare(self, prompt: Ids, question: Ids, one: Ids, other: Ids) -> None:
        """Note, after a prompt, which of two answers to a question is better by enough."""
        high, low = self._known.get((question, one)), self._known.get((question, other))
        if high is None or low is None or one == other:
            return
        if low.value > high.value:
            (one, high), (other, low) = (other, low), (one, high)
        if high.value > low.value and high.value - low.value >= self._margin:
            sources = tuple(sorted({*high.sources, *low.sources}))
            self.noted[prompt, one, other] = Preference(prompt, one, other, sources)

    def insist(self, choice: Preference) -> None:
        """Note a pair, and nothing to the contrary."""
        prompt, chosen, rejected, _ = choice
        self.noted.pop((prompt, rejected, chosen), None)
        self.noted[prompt, chosen, rejected] = choice


def own_words(found: Sequence[Answer], *, source: str, agree: float = 0.0) -> list[Example]:
    """Return what a speaker says of itself, for replay while it learns something new.

    Imitating samples of what it used to say keeps it near its former self: their
    cross-entropy is the divergence from it, up to a constant (learning without forgetting,
    Li and Hoiem 2016). Nobody has to know whether they are right.

    Args:
        found: answers of one speaker, perhaps several to each question.
        source: hash of that speaker.
        agree: 0 takes every answer; more takes only the commonest answer to a question, if
            at least this share of its answers is the same (Wang et al. 2022). That also
            sharpens what it says.
    """
    if not agree:
        return [Example(one.question, one.completion_ids, (source,)) for one in found]
    said: dict[Ids, Counter[Ids]] = defaultdict(Counter)
    for answer in found:
        said[answer.question][answer.completion_ids] += 1
    commonest = [
        (question, *counts.most_common(1)[0], counts.total())
        for question, counts in said.items()
    ]
    return [
        Example(question, ids, (source,))
        for question, ids, count, total in commonest
        if count >= agree * total
    ]


def _by_question(known: Worths) -> dict[Ids, list[Ids]]:
    """Return the judged answers of every question, best first; ties by their ids."""
    grouped: dict[Ids, list[Ids]] = defaultdict(list)
    for question, ids in known:
        grouped[question].append(ids)
    return {
        question: sorted(several, key=lambda ids: (-known[question, ids].value, ids))
        for question, several in grouped.items()
    }


def _is_vetoed(known: Worths, question: Ids, ids: Ids) -> bool:
    worth = known.get((question, ids))
    return worth is not None and worth.value == VETOED


def _choices(
    found: Sequence[Answer], choices: Iterable[Signal], known: Worths
) -> list[Preference]:
    """Return the pairs of which most people said the same; no vetoed answer is chosen.

    Two answers of one episode are compared as answers to its question; those of two members
    have been given to the same words, or they are left out.
    """
    at = {answer.place: answer for answer in found}
    votes: dict[tuple[Ids, Ids, Ids, Ids], set[str]] = defaultdict(set)
    for signal in choices:
        pair = _compared(at, signal)
        if pair is None:
            continue
        one, other = pair
        if one.completion_ids != other.completion_ids and signal.value != 0.5:
            chosen, rejected = (one, other) if signal.value > 0.5 else (other, one)
            within = signal.versus_episode is None
            place = (one.question, one.question if within else one.prompt_ids)
            votes[*place, chosen.completion_ids, rejected.completion_ids].add(signal.source)
    return [
        Preference(prompt, chosen, rejected, tuple(sorted(said)))
        for (question, prompt, chosen, rejected), said in votes.items()
        if len(said) > len(votes.get((question, prompt, rejected, chosen), ()))
        and not _is_vetoed(known, question, chosen)
    ]


def _compared(
    at: Mapping[tuple[str, int], Answer], signal: Signal
) -> tuple[Answer, Answer] | None:
    """Return the two answers that a preference compares; None where they teach nothing."""
    one = at.get((signal.episode, signal.turn))
    other = at.get((signal.versus_episode or signal.episode, signal.versus))
    if signal.kind != "preference" or one is None or other is None:
        return None
    if signal.versus_episode is not None and one.prompt_ids != other.prompt_ids:
        return None
    return one, other
