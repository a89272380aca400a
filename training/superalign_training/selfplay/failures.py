"""Failed episodes: counted, left out of training, and too many stop the stage.

An agent that fails (an endpoint that is down, a prompt that is too long) ends its episode
as data. A few do no harm. Many make a stage another one than was asked for, and whoever
finds out days later has lost them: so the stage stops and says why.
"""

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from superalign_env.errors import EpisodesFailed
from superalign_env.measures import share
from superalign_env.plain_text import one_line
from superalign_env.types import Episode, Metric

MOST = 0.2
"""Share of episodes that may fail unless it is said otherwise."""

_FEW = 16
"""Of fewer episodes nothing is said before the stage ends."""

_LONGEST = 160
"""Characters of a reason."""


class Failures:
    """The failed episodes of one stage.

    Args:
        stage: name of the stage.
        most: share that may fail; 1 never stops.
    """

    def __init__(self, stage: str = "", max_share: float = MOST) -> None:
        self._stage = stage
        self._most = max_share
        self._played = 0
        self._reasons: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say why, where a stage stopped for want of what failed.

        Raises:
            EpisodesFailed: too many failed, which explains the error.
        """
        if isinstance(error, Exception) and not isinstance(error, EpisodesFailed):
            self._check(error)

    def count(self, episodes: Sequence[Episode]) -> None:
        """Count episodes and check the failure rate so far.

        Raises:
            EpisodesFailed: too many failed.
        """
        self._played += len(episodes)
        self._reasons.update([_reason(episode) for episode in episodes if episode.failed])
        if self._played >= _FEW:
            self._check()

    def metrics(self, step: int) -> tuple[Metric, ...]:
        """Return the failure rate at the end of the stage; empty without failures.

        Raises:
            EpisodesFailed: too many failed.
        """
        if not self._reasons:
            return ()
        self._check()
        failed = share(self._reasons.total(), self._played)
        ((why, _),) = self._reasons.most_common(1)
        return (Metric("episodes.failed", *failed, tags={"why": why}, step=step),)

    def _check(self, cause: Exception | None = None) -> None:
        failed = self._reasons.total()
        if failed <= self._most * self._played:
            return
        ((why, often),) = self._reasons.most_common(1)
        raise EpisodesFailed(
            f"{failed} of {self._played} episodes of the stage {self._stage} failed, {often} of "
            f"them so: {why}. Cure that and go on with --resume; failures={self._most:g} is "
            "the share that may fail"
        ) from cause


def _reason(episode: Episode) -> str:
    return one_line(episode.ending.reason, _LONGEST)
