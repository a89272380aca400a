"""How far to trust a source when nobody knows the truth."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from superalign_env.final_answers import final_answer
from superalign_env.measures.agreement import capa, error_correlation
from superalign_env.measures.intervals import Estimate
from superalign_env.store import declare
from superalign_env.types import Metric
from superalign_training.oversight.labels import Statement, Table, tabled

LEAST = 5
"""Labels of people that a source must have met to be weighed by them."""


def reliability(
    statements: Sequence[Statement], people: Sequence[Statement] = ()
) -> dict[str, float]:
    """Return source → how often it is right, as far as that can be known without gold.

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
    said: dict[str, dict[str, str]] = {}
    for one in statements:
        said.setdefault(one.source, {})[one.item] = final_answer(one.answer)
    votes = _votes(said)
    found: dict[str, float] = {}
    for source, answers in said.items():
        met = [
            answers[label.item] == final_answer(label.answer)
            for label in people
            if label.source != source and label.item in answers
        ]
        if len(met) >= LEAST:
            found[source] = _smoothed(sum(met), len(met))
        else:
            found[source] = _among_peers(answers, votes)
    return found


def _votes(said: Mapping[str, Mapping[str, str]]) -> dict[str, Counter[str]]:
    votes: dict[str, Counter[str]] = {}
    for answers in said.values():
        for item, answer in answers.items():
            votes.setdefault(item, Counter())[answer] += 1
    return votes


def _among_peers(answers: Mapping[str, str], votes: Mapping[str, Counter[str]]) -> float:
    """Return how often a source says what most others say; ties among them count in part."""
    agreed, met = 0.0, 0
    for item, answer in answers.items():
        others = votes[item].copy()
        others[answer] -= 1
        most = max(others.values())
        if most <= 0:
            continue
        leading = [other for other, count in others.items() if count == most]
        met += 1
        agreed += (answer in leading) / len(leading)
    return _smoothed(agreed, met)


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
    truth = {one.item: final_answer(one.answer) for one in people}
    table = tabled([one for one in statements if one.item in truth])
    found: list[Metric] = []
    if len(table.items) < _LEAST:
        return found
    right = [truth[item] for item in table.items]
    phi = error_correlation(table.votes, right)
    for (a, one), (b, other) in combinations(enumerate(table.sources), 2):
        cells = {
            "signals.error_correlation": phi[a][b],
            "signals.kappa_p": _kappa(table, (a, b), right, options, seed),
        }
        found += [
            Metric(
                name,
                *cell,
                agent=one,
                opponent=other,
                tags={"a": one, "b": other},
                step=step,
            )
            for name, cell in cells.items()
            if cell is not None
        ]
    return found


def _kappa(
    table: Table,
    pair: tuple[int, int],
    right: Sequence[str],
    options: Mapping[str, Sequence[str]],
    seed: int,
) -> Estimate | None:
    """Return κ_p of two columns over the items that both answered."""
    ours: list[tuple[float, ...]] = []
    theirs: list[tuple[float, ...]] = []
    places = []
    for row, votes in enumerate(table.votes):
        said = [votes[column] for column in pair]
        if None in said:
            continue
        known = [*map(final_answer, options.get(table.items[row], ())), *said, right[row]]
        keys = list(dict.fromkeys(known))
        if len(keys) < 2:  # one answer is no choice
            keys.append("")
        places.append(keys.index(right[row]))
        for column, belief in zip(pair, (ours, theirs), strict=True):
            belief.append(_belief(keys, votes[column], table.sureness[row][column]))
    return capa(ours, theirs, places, seed=seed) if len(places) >= _LEAST else None


def _belief(
    keys: Sequence[str | None], said: str | None, sure: float | None
) -> tuple[float, ...]:
    """Return the probability of every answer in a source's eyes."""
    own = 1.0 if sure is None else sure
    rest = (1.0 - own) / (len(keys) - 1)
    return tuple(own if key == said else rest for key in keys)
