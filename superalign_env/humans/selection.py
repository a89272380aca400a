"""What to ask people: where sources disagree, and a random slice beside it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from superalign_env.errors import InvalidOption
from superalign_env.rounding import decimal
from superalign_env.seeding import generator
from superalign_env.store.questions import question_id
from superalign_env.types import Question, SignalKind

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


def disagreement(scores: Iterable[float]) -> float:
    """Return how far sources are apart, in [0, 1].

    Where only one source spoke, its own doubt counts: 1 for a shrug, 0 for certainty.
    """
    known = sorted(scores)
    if not known:
        return 0.0
    if len(known) == 1:
        return 1.0 - abs(2.0 * known[0] - 1.0)
    return known[-1] - known[0]


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
    named = {
        question_id(kind, one.episode, one.turn, versus=one.versus): one
        for one in candidates
    }
    rng = generator(key)
    budget = min(budget, len(named))
    n_random = min(budget, int(budget * random_share + rng.random()))
    names = sorted(named)
    shuffled = [names[place] for place in rng.permutation(len(names)).tolist()]
    doubt = {name: disagreement(named[name].scores.values()) for name in names}
    # Sorting is stable: what is equal stays shuffled.
    disputed = sorted(shuffled[n_random:], key=lambda name: -doubt[name])

    random = [
        _question(name, named[name], kind, round=round, priority=RANDOM_PRIORITY)
        for name in shuffled[:n_random]
    ]
    selected = [
        _question(name, named[name], kind, round=round, priority=doubt[name])
        for name in disputed[: budget - n_random]
    ]
    return (*random, *selected)


def _question(
    name: str, one: Candidate, kind: SignalKind, *, round: int, priority: float
) -> Question:
    drawn = priority == RANDOM_PRIORITY
    return Question(
        name,
        kind,
        one.episode,
        one.turn,
        one.versus,
        "random" if drawn else "selected",
        priority,
        "random slice" if drawn else f"disagreement {decimal(priority)}",
        round,
    )
