"""Contents of a record as plain data, the only input of a report."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any, NamedTuple

from superalign_env.errors import RecordError
from superalign_env.store import (
    TRAINING,
    AgentRow,
    Budget,
    Hazard,
    MetricRow,
    RecordedEvent,
    Run,
    RunInfo,
    Stage,
    StageCost,
    kind_of,
)
from superalign_env.types import Episode, MetricKind

HAZARDS = 60
"""Hazards of one generation that a page shows; the others are counted."""


class Document(NamedTuple):
    """Contents of a record that a report shows."""

    path: str
    """Of the run's folder, as the reader would type it."""
    info: RunInfo
    stages: tuple[Stage, ...]
    metrics: tuple[MetricRow, ...]
    """Without those of optimiser updates."""
    updates: tuple[MetricRow, ...]
    """Metrics of optimiser updates."""
    metric_kinds: dict[str, MetricKind]
    """Metric → its declaration, where it has one."""
    agents: tuple[AgentRow, ...]
    """In order of appearance: all that have a place in the lineage."""
    events: tuple[RecordedEvent, ...]
    """That concern the run, not one utterance."""
    kinds: dict[str, int]
    """How many events there are of each kind, all counted."""
    hazards: tuple[Hazard, ...]
    """At most `HAZARDS` of each generation."""
    found: dict[int, int]
    """Generation → how many hazards were found."""
    evidence: dict[int, RecordedEvent]
    """Events that hazards name, by id."""
    answered: dict[str, tuple[str, ...]]
    """Hazard → the sources of its safe answer, as far as they are known."""
    transcripts: dict[str, Episode]
    """Episodes that the evidence names, by id."""
    costs: tuple[StageCost, ...]
    seconds: dict[str, float]
    """Stage → seconds that it took, as far as they are known."""
    budget: Budget
    """What people were asked."""
    statuses: dict[str, int]
    """Status → how many hazards stand so."""

    def kind(self, metric: str) -> MetricKind:
        """Return the declaration of a metric, as the record has it."""
        return kind_of(metric, self.metric_kinds)

    def is_share(self, metric: str) -> bool:
        """Return whether numbers of a metric are shares: as declared, else as they look."""
        if metric in self.metric_kinds:
            return self.metric_kinds[metric].unit == "share"
        values = [m.value for _, m in self.metrics if m.name == metric]
        return all(0.0 <= value <= 1.0 for value in values)

    @property
    def generations(self) -> int:
        """Number of generations that the run has begun; 0 for plain self-play."""
        return max((stage.generation for stage in self.stages), default=0)


def read(run: Run, path: str = "") -> Document:
    """Return everything that a report says about a run.

    Args:
        run: opened, for reading at least.
        path: how the reader names its folder; as it was opened when absent.
    """
    every = run.hazards.all()
    hazards = _first_of_each_generation(every)
    evidence = run.events.get(h.event for h in hazards if h.event is not None)
    return Document(
        path=path or str(run.path),
        info=run.info,
        stages=tuple(run.stages.all()),
        metrics=tuple(run.metrics.read(without=TRAINING)),
        updates=tuple(run.metrics.read(TRAINING)),
        metric_kinds=run.metrics.kinds(),
        agents=tuple(_placed(run.agents.all())),
        events=tuple(run.events.of_the_run()),
        kinds=run.events.kinds(),
        hazards=tuple(hazards),
        found=_counted(hazard.generation for hazard in every),
        evidence=evidence,
        answered=_answered(run.events.read(kind="hazard.answered")),
        transcripts=_transcripts(run, evidence.values()),
        costs=tuple(run.stages.costs()),
        seconds=run.stages.seconds(),
        budget=run.questions.budget(),
        statuses=_counted(hazard.status for hazard in every),
    )


def episodes_of(happened: RecordedEvent) -> list[str]:
    """Return the ids of the episodes that an event is about, as far as it names them."""
    evidence: dict[str, Any] = happened.event.evidence
    ids = [happened.episode, evidence.get("episode")]
    several = evidence.get("episodes")
    if isinstance(several, list):
        ids += several
    return list(dict.fromkeys(name for name in ids if isinstance(name, str) and name))


def _counted(keys: Iterable[Any]) -> dict[Any, int]:
    """Return the count of each key, in order of keys."""
    counted: dict[Any, int] = {}
    for key in keys:
        counted[key] = counted.get(key, 0) + 1
    return dict(sorted(counted.items()))


def _first_of_each_generation(hazards: Iterable[Hazard]) -> list[Hazard]:
    ordered = sorted(hazards, key=lambda hazard: hazard.generation)
    return [
        hazard
        for _, group in groupby(ordered, key=lambda hazard: hazard.generation)
        for hazard in list(group)[:HAZARDS]
    ]


def _placed(agents: Iterable[AgentRow]) -> list[AgentRow]:
    """Return agents that were trained or have a role, and all they came from."""
    rows = list(agents)
    by_hash = {row.hash: row for row in rows}
    ids: set[str] = set()
    for row in rows:
        place: AgentRow | None = row
        if row.role or row.side or row.path or row.accepted is not None:
            while place is not None and place.hash not in ids:
                ids.add(place.hash)
                place = by_hash.get(place.parent)
    return [row for row in rows if row.hash in ids]


def _answered(events: Iterable[RecordedEvent]) -> dict[str, tuple[str, ...]]:
    sources: dict[str, tuple[str, ...]] = {}
    for happened in events:
        evidence = happened.event.evidence
        if isinstance(evidence.get("hazard"), str) and isinstance(
            evidence.get("sources"), list
        ):
            sources[evidence["hazard"]] = tuple(map(str, evidence["sources"]))
    return sources


def _transcripts(run: Run, evidence: Iterable[RecordedEvent]) -> dict[str, Episode]:
    episodes: dict[str, Episode] = {}
    for happened in evidence:
        for name in episodes_of(happened)[:3]:
            if name not in episodes:
                try:
                    episodes[name] = run.episode(name)
                except RecordError:
                    continue  # damaged or gone: the hazard is shown without its transcript
    return episodes
