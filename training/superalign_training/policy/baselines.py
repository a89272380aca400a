"""Running means of reward by role: baselines of advantages."""

import math
from collections.abc import Mapping, Sequence

from superalign_env.errors import InvalidOption


class Baselines:
    """One exponential moving average per role or seat.

    Source: role-conditioned advantage estimation of SPIRAL (arXiv 2506.24119), taken over
    batches: one sample in a batch of a thousand should not count for more because it came
    last.

    Args:
        averages: what was learned before.
    """

    def __init__(self, averages: Mapping[str, float] | None = None) -> None:
        self._averages = dict(averages or {})

    def of(self, key: str) -> float:
        """Return the average of a role or seat; 0 before the first batch."""
        return self._averages.get(key, 0.0)

    def take(self, key: str, pay: Sequence[float], *, decay: float = 0.9) -> None:
        """Update the average of a role or seat by one batch; the first batch sets it.

        Args:
            key: role or seat.
            pay: of one batch; an empty one says nothing.
            decay: share of the old average that stays.

        Raises:
            InvalidOption: pay that is no finite number, or a decay outside [0, 1).
        """
        if not 0 <= decay < 1:
            raise InvalidOption(f"the decay of baselines is {decay}; give 0 <= decay < 1")
        if not all(map(math.isfinite, pay)):
            raise InvalidOption(
                f"{key} was paid something that is no finite number; mend the reward"
            )
        if not pay:
            return
        batch = math.fsum(pay) / len(pay)
        average = self._averages.get(key)
        self._averages[key] = (
            batch if average is None else decay * average + (1 - decay) * batch
        )

    def plain(self) -> dict[str, float]:
        """Return all averages."""
        return dict(self._averages)
