"""How alike sources err: sources that err together are one source.

Both matrices take people's labels for the truth, for no stage knows any other; where
people err, sources that say the same as each other seem to err together.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

from superalign_env.final_answers import final_answer
from superalign_env.measures.agreement import capa, error_correlation
from superalign_env.measures.intervals import Estimate
from superalign_env.store import declare
from superalign_env.types import Metric
from superalign_training.sources.combining import Table, tabled
from superalign_training.sources.statements import Statement

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
