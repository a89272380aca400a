"""Reliability of sources without gold labels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from superalign_env.final_answers import final_answer
from superalign_env.measures.agreement import capa, error_correlation
from superalign_env.measures.intervals import Estimate
from superalign_env.store import declare
from superalign_env.types import Metric
from superalign_training.oversight.labels import Statement, VoteTable, tabled

LEAST = 5
"""Labels of people that a source must have met to be weighed by them."""


def reliability(
    statements: Sequence[Statement], people: Sequence[Statement] = ()
) -> dict[str, float]:
    """Return source → estimated accuracy, without gold labels.

    It is the share of (other) people's labels that a source agrees with; for one that met
    fewer than `LEAST` of them, the share of items on which it says what most of the others
    say. One agreement and one disagreement are added, so that few items say little; a
    source that shares no item with anybody is at 0.5.

    Agreement with people falls short of accuracy by what people get wrong, for all sources
    alike, and agreement with peers flatters those who err together.

    Args:
        statements: of all sources, about any items.
        people: what people said of items that were drawn at random; of disputed ones, all
            sources would look worse than they are.
    """
    answers_of: dict[str, dict[str, str]] = {}
    for statement in statements:
        answers_of.setdefault(statement.source, {})[statement.item] = final_answer(
            statement.answer
        )
    votes = _votes(answers_of)
    estimates: dict[str, float] = {}
    for source, answers in answers_of.items():
        agreements = [
            answers[label.item] == final_answer(label.answer)
            for label in people
            if label.source != source and label.item in answers
        ]
        if len(agreements) >= LEAST:
            estimates[source] = _smoothed(sum(agreements), len(agreements))
        else:
            estimates[source] = _among_peers(answers, votes)
    return estimates


def _votes(answers_of: Mapping[str, Mapping[str, str]]) -> dict[str, Counter[str]]:
    votes: dict[str, Counter[str]] = {}
    for answers in answers_of.values():
        for item, answer in answers.items():
            votes.setdefault(item, Counter())[answer] += 1
    return votes


def _among_peers(answers: Mapping[str, str], votes: Mapping[str, Counter[str]]) -> float:
    """Return the agreement rate with the majority of the others; ties count in part."""
    agreed, shared = 0.0, 0
    for item, answer in answers.items():
        peer_votes = votes[item].copy()
        peer_votes[answer] -= 1
        top = max(peer_votes.values())
        if top <= 0:
            continue
        leading = [peer_answer for peer_answer, count in peer_votes.items() if count == top]
        shared += 1
        agreed += (answer in leading) / len(leading)
    return _smoothed(agreed, shared)


def _smoothed(agreed: float, met: int) -> float:
    return (agreed + 1.0) / (met + 2.0)


_LEAST = 4
"""Items below which nothing is said."""


declare("signals.error_correlation", "Correlation of errors", chart="symmetric")
declare("signals.kappa_p", "κₚ: agreement beyond what accuracy explains", chart="symmetric")


def matrices(
    statements: Sequence[Statement],
    people: Sequence[Statement],
    *,
    options: Mapping[str, Sequence[str]],
    step: int = 0,
    seed: int = 0,
) -> list[Metric]:
    """Return error correlation and CAPA's κ_p of every pair of sources.

    κ_p takes each source at its word: its answer has the probability that it gives it, and
    the other candidates share the rest equally.

    Args:
        statements: of sources other than people.
        people: their labels, of items that were drawn at random.
        options: item → candidate answers, good and bad alike.
        step: generation, for the record.
        seed: of the intervals' resampling.
    """
    truth = {statement.item: final_answer(statement.answer) for statement in people}
    table = tabled([statement for statement in statements if statement.item in truth])
    metrics: list[Metric] = []
    if len(table.items) < _LEAST:
        return metrics
    truths = [truth[item] for item in table.items]
    phi = error_correlation(table.votes, truths)
    for (a, statement), (b, opponent) in combinations(enumerate(table.sources), 2):
        cells = {
            "signals.error_correlation": phi[a][b],
            "signals.kappa_p": _kappa(table, (a, b), truths, options, seed),
        }
        metrics += [
            Metric(
                name,
                *cell,
                agent=statement,
                opponent=opponent,
                tags={"a": statement, "b": opponent},
                step=step,
            )
            for name, cell in cells.items()
            if cell is not None
        ]
    return metrics


def _kappa(
    table: VoteTable,
    pair: tuple[int, int],
    truths: Sequence[str],
    options: Mapping[str, Sequence[str]],
    seed: int,
) -> Estimate | None:
    """Return κ_p of two columns over the items that both answered."""
    ours: list[tuple[float, ...]] = []
    theirs: list[tuple[float, ...]] = []
    places = []
    for row, votes in enumerate(table.votes):
        pair_votes = [votes[column] for column in pair]
        if None in pair_votes:
            continue
        candidates = [
            *map(final_answer, options.get(table.items[row], ())),
            *pair_votes,
            truths[row],
        ]
        keys = list(dict.fromkeys(candidates))
        if len(keys) < 2:  # one answer is no choice
            keys.append("")
        places.append(keys.index(truths[row]))
        for column, belief in zip(pair, (ours, theirs), strict=True):
            belief.append(_belief(keys, votes[column], table.sureness[row][column]))
    return capa(ours, theirs, places, seed=seed) if len(places) >= _LEAST else None


def _belief(
    keys: Sequence[str | None], vote: str | None, confidence: float | None
) -> tuple[float, ...]:
    """Return a source's probability of every answer."""
    probability = 1.0 if confidence is None else confidence
    remainder = (1.0 - probability) / (len(keys) - 1)
    return tuple(probability if key == vote else remainder for key in keys)
