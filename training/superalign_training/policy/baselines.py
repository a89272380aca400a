"""Running means of pay by role, which advantages are measured against."""

import math
from collections.abc import Mapping, Sequence

from superalign_env.errors import InvalidOption


class Baselines:
    """One exponential moving average per role or seat.

    Source: role-conditioned advantage estimation of SPIRAL (arXiv 2506.24119, section
    3.3), taken over batches: one sample in a batch of a thousand should not count for
    more because it came last.

    Args:
        averages: what was learned before.
        decay: share of the old average that stays when a batch is taken in.

    Raises:
        InvalidOption: a decay outside [0, 1).
    """

    def __init__(
        self, averages: Mapping[str, float] | None = None, *, decay: float = 0.9
    ) -> None:
        if not 0 <= decay < 1:
            raise InvalidOption(f"the decay of baselines is {decay}; give 0 <= decay < 1")
        self.decay = decay
        self._averages = dict(averages or {})

    def of(self, key: str) -> float:
        """Return the average of a role or seat; 0 while nothing was seen."""
        return self._averages.get(key, 0.0)

    def take(self, key: str, pay: Sequence[float]) -> None:
        """Take in what a role or seat was paid in one batch; the first batch sets it.

        Raises:
            InvalidOption: pay that is no finite number.
        """
        if not pay:
            return
        batch = math.fsum(pay) / len(pay)
        if not math.isfinite(batch):
            raise InvalidOption(
                f"{key} was paid {batch}, which is no number to learn from; mend the reward"
            )
        old = self._averages.get(key)
        self._averages[key] = (
            batch if old is None else self.decay * old + (1 - self.decay) * batch
        )

    def plain(self) -> dict[str, float]:
        """Return all averages."""
        return dict(self._averages)
