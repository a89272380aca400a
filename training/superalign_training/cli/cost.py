"""What a run will cost, before it starts: an estimate, and said to be one.

How often everybody speaks and how many rows are trained on follows from the settings (an
upper bound where a stage may stop early); how long that takes is measured on this machine
with a model of the run, now or before.
"""

from collections.abc import Mapping
from typing import NamedTuple

from rich.table import Table

from superalign_training.cli.prices import STAGES, Spent, When, nothing
from superalign_training.cli.speed import Speed, known_speed, speed_of
from superalign_training.selfplay.plan import people_in, plan
from superalign_training.selfplay.playing import stage_capabilities
from superalign_training.selfplay.settings import Settings


class Cost(NamedTuple):
    """What a run will use up."""

    stages: Mapping[str, Spent]
    """Name of a stage → all of its kind together."""
    counts: Mapping[str, int]
    """Name of a stage → how often it is done."""
    speed: Speed | None
    """None where it was not measured: tokens and time are not known then."""
    seats: int = 0
    """How many seats people hold."""
    real: bool = False
    """Whether people answer who are not simulated."""

    @property
    def owed(self) -> str:
        """What people will owe, in one sentence; empty where they owe nothing."""
        turns = self.seats * self.whole.episodes
        answers = self.whole.labels if self.real else 0.0
        owed = [
            f"{_round(count)} {what}"
            for count, what in ((turns, "turns in seats"), (answers, "answers"))
            if count
        ]
        if not owed:
            return ""
        if self.real and self.whole.comparisons:
            owed[-1] += f" ({_round(self.whole.comparisons)} compare two members of a case)"
        return (
            f"people will owe at most about {' and '.join(owed)}; they give them with "
            "`superalign label RUN --as NAME` beside the run"
        )

    @property
    def whole(self) -> Spent:
        """The sum over all stages."""
        found = Spent()
        for spent in self.stages.values():
            found = found.plus(spent)
        return found

    @property
    def seconds(self) -> float | None:
        """How long it will take, if that is known."""
        return self.seconds_of(self.whole)

    @property
    def tokens(self) -> float | None:
        """Read and written by models, and trained on, if that is known."""
        return self.tokens_of(self.whole)

    def seconds_of(self, spent: Spent) -> float | None:
        """How long something takes, if that is known."""
        if self.speed is None:
            return None
        return self.speed.seconds(spent.replies, spent.rows, spent.courses)

    def tokens_of(self, spent: Spent) -> float | None:
        """How many tokens are read, written and trained on, if that is known."""
        return None if self.speed is None else self.speed.tokens(spent.replies, spent.rows)

    @property
    def line(self) -> str:
        """The sums in one sentence."""
        whole = self.whole
        told = (
            f"{_round(whole.labels)} labels by people, {_round(whole.planted)} planted answers "
            "whose truth critics are told"
        )
        begin = f"at most about {_round(whole.episodes)} episodes, "
        if self.speed is None:
            return (
                f"{begin}{told} (an estimate; time and tokens are not known, as nothing of this "
                "kind was measured here yet: --dry-run --measure does it)"
            )
        day = self.speed.measured
        since = f" on {day}; --measure does it again" if day else ""
        return (
            f"{begin}{_round(self.tokens)} tokens, {told}, {_span(self.seconds)} "
            f"(an estimate; speed measured here with {self.speed.model}{since})"
        )


def cost_of(
    settings: Settings, *, measured: Cost | None = None, measure: bool = True
) -> Cost:
    """Estimate what a run with these settings will cost.

    Args:
        settings: of the run.
        measured: of a run with the same models, whose measured speed is taken.
        measure: whether models are loaded and timed now, which takes seconds; else it is
            taken what was measured before, if anything was.
    """
    counts: dict[str, int] = {}
    stages: dict[str, Spent] = {}
    played: dict[tuple[int, int], float] = {}
    if measured:
        speed = measured.speed
    else:
        speed = speed_of(settings) if measure else known_speed(settings)
    parts = stage_capabilities(settings)
    for planned in plan(settings):
        place = (planned.generation, planned.round)
        options = getattr(planned.do, "keywords", {})
        when = When(
            settings,
            *place,
            options.get("effort", 1),
            played.get(place, 0.0),
            speed.turns if speed else 1.0,  # replies are not shown then
            options.get("role", ""),
            parts,
        )
        kind = planned.name.partition("-")[0]
        own = getattr(options.get("evaluation"), "cost", dict)
        spent = STAGES.get(kind, nothing)(when).plus(Spent(**own()))
        if kind in ("attack", "improve", "supervise", "calibrate"):
            played[place] = played.get(place, 0.0) + spent.episodes
        counts[planned.name] = counts.get(planned.name, 0) + 1
        stages[planned.name] = stages.get(planned.name, Spent()).plus(spent)
    real = settings.people.mode != "simulated"
    return Cost(stages, counts, speed, len(people_in(settings)), real)


def cost_table(cost: Cost) -> Table:
    """Return the estimate for the terminal."""
    table = Table("stage", title="what this run will cost, at most (an estimate)")
    for column in ("how often", "episodes", "tokens", "labels", "planted", "time"):
        table.add_column(column, justify="right")
    rows = [(name, str(cost.counts[name]), spent) for name, spent in cost.stages.items()]
    for name, often, spent in [*rows, ("all", "", cost.whole)]:
        table.add_row(
            name,
            often,
            _round(spent.episodes),
            _round(cost.tokens_of(spent)),
            _round(spent.labels),
            _round(spent.planted),
            _span(cost.seconds_of(spent)),
        )
    return table


def _round(number: float | None) -> str:
    """Return two significant digits, as people read them."""
    if number is None:
        return "?"
    if number >= 1e6:
        return f"{number / 1e6:.1f} M"
    return f"{float(f'{number:.2g}'):,.0f}"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
