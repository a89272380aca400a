"""What to ask people: where sources disagree, and a random slice beside it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from superalign_env.errors import InvalidOption
from superalign_env.rounding import decimal
from superalign_env.seeding import generator, mix
from superalign_env.store.questions import question_id
from superalign_env.types import Question, QuestionSlice, SignalKind

RANDOM_PRIORITY = 2.0
"""Above every disagreement, so that no budget crowds out the random slice."""


class Candidate(NamedTuple):
    """One turn, or pair of turns, that people could be asked about."""

    episode: str
    turn: int
    scores: Mapping[str, float]
    """source → its score of the turn, in [0, 1]."""
    versus: int = -1
    """The other turn of a pair."""
    words: str = ""
    """What was said at these turns, if other words shall be another question: a stage that is
    done again may hear other words from an endpoint under the same name."""
    versus_episode: str | None = None
    """The episode of the other turn; None: the same one."""


def disagreement(scores: Iterable[float]) -> float:
    """Return how far sources are apart, in [0, 1].

    Where only one source spoke, its own doubt counts: 1 for a shrug, 0 for certainty.
    """
    names = sorted(scores)
    if not names:
        return 0.0
    if len(names) == 1:
        return 1.0 - abs(2.0 * names[0] - 1.0)
    return names[-1] - names[0]


def select(
    candidates: Sequence[Candidate],
    budget: int,
    key: int,
    *,
    random_share: float = 0.2,
    kind: SignalKind = "label",
    round: int = 0,
) -> tuple[Question, ...]:
    """Choose questions, at most `budget`.

    First the random slice is drawn uniformly from all candidates: its labels are an
    unbiased evaluation and are never trained on. The rest of the budget goes to the
    candidates with the greatest disagreement; equal ones are chosen at random.

    Args:
        candidates: what could be asked; their order does not matter.
        budget: how many questions.
        key: seed of all chance in here.
        random_share: share of the budget for the random slice, exact on average. 1 is
            the baseline that selection has to beat.
        kind: of the questions.
        round: at whose boundary they are asked.

    Returns:
        The random slice, then the selected ones by falling disagreement.

    Raises:
        InvalidOption: a negative budget, or a share outside [0, 1].
    """
    if budget < 0 or not 0.0 <= random_share <= 1.0:
        raise InvalidOption(
            f"needs budget ≥ 0 and random_share in [0, 1], not {budget} and {random_share}"
        )
    rng = generator(key)
    budget = min(budget, len(_named(candidates, kind)))
    at_random = min(budget, int(budget * random_share + rng.random()))
    return choose(
        candidates,
        mix(key, at_random),
        drawn=at_random,
        selected=budget - at_random,
        kind=kind,
        round=round,
    )


def choose(
    candidates: Sequence[Candidate],
    key: int,
    *,
    drawn: int = 0,
    training: int = 0,
    selected: int = 0,
    kind: SignalKind = "label",
    round: int = 0,
) -> tuple[Question, ...]:
    """Choose so many questions of each slice; fewer where candidates run out.

    Args:
        candidates: what could be asked; their order does not matter.
        key: seed of all chance in here.
        drawn: for evaluation, uniformly from all candidates: never trained on.
        training: uniformly from the rest: trained on, and free of the bias of selection.
        selected: from what is left then, by falling disagreement; equal ones at random.
        kind: of the questions.
        round: at whose boundary they are asked.

    Returns:
        The slices one after the other.
    """
    named = _named(candidates, kind)
    names = sorted(named)
    order = generator(key).permutation(len(names)).tolist()
    shuffled = [names[place] for place in order]
    doubt = {name: disagreement(named[name].scores.values()) for name in names}
    # Sorting is stable: what is equal stays shuffled.
    disputed = sorted(shuffled[drawn + training :], key=lambda name: -doubt[name])

    def question(name: str, slice: QuestionSlice) -> Question:
        candidate, is_selected = named[name], slice == "selected"
        why = f"disagreement {decimal(doubt[name])}" if is_selected else _WHY[slice]
        priority = doubt[name] if is_selected else RANDOM_PRIORITY
        place = (
            candidate.episode,
            candidate.turn,
            candidate.versus,
            candidate.versus_episode,
        )
        return Question(name, kind, *place, slice, priority, why, round)

    return (
        *[question(name, "random") for name in shuffled[:drawn]],
        *[question(name, "training") for name in shuffled[drawn : drawn + training]],
        *[question(name, "selected") for name in disputed[:selected]],
    )


_WHY: Mapping[QuestionSlice, str] = {
    "random": "random slice",
    "training": "random slice, trained on",
}


def _named(candidates: Iterable[Candidate], kind: SignalKind) -> dict[str, Candidate]:
    """Return candidates by the ids of their questions."""
    return {
        question_id(
            kind,
            candidate.episode,
            candidate.turn,
            versus=candidate.versus,
            versus_episode=candidate.versus_episode,
            words=candidate.words,
        ): candidate
        for candidate in candidates
    }
