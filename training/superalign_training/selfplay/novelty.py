"""A bonus for saying what is rarely said, so that an attacker does not repeat one trick."""

from collections import Counter
from collections.abc import Sequence
from math import log

from superalign_training.data import Row


def with_novelty(rows: Sequence[Row], weight: float) -> list[Row]:
    """Return rows whose pay has a bonus for rare completions.

    A completion that all rows of the batch share earns nothing, one that is alone among
    n rows earns the whole weight: weight · (−log share) / log n, the surprise of the
    batch's own distribution.

    Args:
        rows: of one batch.
        weight: of the bonus, in units of pay.
    """
    if weight == 0 or len(rows) < 2:
        return list(rows)
    counts = Counter(row.completion_ids for row in rows)
    most = log(len(rows))
    return [
        _paid(row, weight * -log(counts[row.completion_ids] / len(rows)) / most)
        for row in rows
    ]


def _paid(row: Row, bonus: float) -> Row:
    *earlier, last = row.turn_rewards
    return row._replace(
        turn_rewards=(*earlier, last + bonus),
        to_go=row.to_go + bonus,
    )
