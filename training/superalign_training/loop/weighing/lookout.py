"""What alarms look at, gathered from the record: signals and behaviour, never the truth."""

from collections.abc import Sequence

from superalign_env.measures import Estimate
from superalign_env.types import Metric
from superalign_training.alarms import Seen
from superalign_training.gap.sight import Sight
from superalign_training.loop.driver import Bench
from superalign_training.loop.weighing import Competence, Deployment, Requests

_SERIES: tuple[tuple[str, dict[str, str]], ...] = (
    ("risk.rate", {"side": "-"}),
    ("risk.residual", {"side": "-"}),
    ("gate.broken", {}),
    ("gate.good", {}),
    ("verdicts.brier", {"on": "planted"}),
    ("signals.disagreement", {}),
)
"""Numbers by signals of which there is one for every generation, with their tags."""


def seen_by_alarms(
    bench: Bench,
    sight: Sight,
    competence: Competence,
    requests: Requests,
    deployment: Deployment,
    metrics: Sequence[Metric],
) -> Seen:
    """Return all of it, the generation at work last.

    Args:
        bench: of the gate.
        sight: of the generation at work.
        competence: as the gate found it.
        requests: as the gate found them.
        deployment: as the gate found it.
        metrics: of the gate, which are not in the record yet.
    """
    return Seen(
        sights=(*bench.chain.sights, sight),
        speech=competence.speech,
        labelled=requests.labelled,
        missed=_missed(bench),
        trained_on=deployment.trained_on,
        held_out=requests.held_out,
        series={
            name: values
            for name, tags in _SERIES
            for values in [[*_by_generation(bench, name, tags), *_now(metrics, name, tags)]]
            if values
        },
    )


def _missed(bench: Bench) -> Estimate | None:
    """Return the share of planted answers that the critic misjudged when last examined."""
    found = [
        row.metric
        for row in bench.run.metrics.read("verdicts.accuracy", tags={"on": "planted"})
    ]
    if not found:
        return None
    right: Metric = found[-1]
    low = right.value if right.low is None else right.low
    high = right.value if right.high is None else right.high
    return Estimate(1.0 - right.value, 1.0 - high, 1.0 - low, right.n)


def _now(metrics: Sequence[Metric], name: str, tags: dict[str, str]) -> list[float]:
    return [m.value for m in metrics if m.name == name and tags.items() <= m.tags.items()]


def _by_generation(bench: Bench, name: str, tags: dict[str, str]) -> list[float]:
    """Return the last value of each generation, in order."""
    generation = {stage.id: stage.generation for stage in bench.run.stages.all()}
    last: dict[int, float] = {}
    for stage, metric in bench.run.metrics.read(name, tags=tags):
        if generation.get(stage):
            last[generation[stage]] = metric.value
    return [last[number] for number in sorted(last)]
