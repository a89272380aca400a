"""EvaluationResult on held-out cases: episodes and their metrics.

Whoever is compared plays the same cases: the draw of the rules, the tasks and the seeds
are shared, and what is left is the difference between the agents.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from statistics import fmean
from typing import Any, NamedTuple

from superalign_env.asking import TIMEOUT
from superalign_env.errors import InvalidOption
from superalign_env.grades import applies
from superalign_env.measures import (
    Estimate,
    brier,
    calibration_error,
    distinct_n,
    distinct_share,
    mean,
    share,
)
from superalign_env.protocols import EpisodeSink, Scenario
from superalign_env.rewards import totals
from superalign_env.rollout import Rollouts
from superalign_env.seating import AgentLike
from superalign_env.seeding import generator, label, mix, whole_seed
from superalign_env.store import declare, kind_of
from superalign_env.types import Episode, Metric, Role, Seat, Task, role_of

LEAST = 10
"""Fewer observations than this have no interval: it would span all that is possible."""

declare("episodes.failed", "Failed episodes", unit="share", better="lower")
declare("pay", "Pay of an episode")
declare("prompt.truncated", "Prompts cut to the context", unit="share", better="lower")
declare("prompt.made-inert", "Prompts with control text, made inert", unit="share")
declare("reply.constrained", "Replies decoded under a form", unit="share")
declare("reply.unconstrained", "Replies whose form cannot be compiled", unit="share")
declare("reply.truncated-sampling", "Replies by top_p, top_k or min_p", unit="share")
declare(
    "reply.unreadable", "Replies not of the form asked for", unit="share", better="lower"
)
declare("prompt.system-folded", "Prompts without a system role", unit="share")
declare("verdicts.brier", "Verdicts: Brier score (0 is best)", better="lower")
declare(
    "verdicts.calibration-error", "Verdicts: calibration error (0 is best)", better="lower"
)
declare("diversity.distinct", "Different replies", unit="share")
declare("diversity.distinct-2", "Different word pairs", unit="share")

Score = Callable[[Episode], float | None]
"""One number of one episode; None where it has none."""


class EvaluationResult(NamedTuple):
    """Episodes of an evaluation and their metrics."""

    episodes: list[Episode]
    metrics: list[Metric]


def evaluate(
    scenario: Scenario[Any],
    agents: Mapping[Seat, AgentLike],
    n_cases: int,
    *,
    run: int = 0,
    live: int = 64,
    timeout: float | None = TIMEOUT,
    sinks: Sequence[EpisodeSink] = (),
) -> EvaluationResult:
    """Play cases of a scenario and measure them.

    Make the scenario over a held-out split (``split="test"``); the same ``run`` gives
    every set of agents the same cases.

    Args:
        scenario: the rules.
        agents: who sits where.
        n_cases: how many cases.
        run: seed of the cases.
        live: episodes at once.
        timeout: see `superalign_env.rollout.Rollouts`.
        sinks: get the episodes.
    """
    tasks = cases_of(scenario, n_cases, run)
    rollouts = Rollouts(
        scenario, agents, run=run, live=live, timeout=timeout, sinks=sinks, tasks=tasks
    )
    episodes = rollouts.run(n_cases)
    return EvaluationResult(episodes, metrics(episodes, by_task=tasks is not None))


def cases_of(scenario: Scenario[Any], n_cases: int, run: int) -> list[Task] | None:
    """Return the tasks of the cases where the source can list them all; else None.

    Each is asked once before any is asked again, in an order that the run decides.

    Args:
        scenario: its source lists the tasks of a split by ``tasks(split)``, as rows do.
        n_cases: how many cases.
        run: seed of the cases.
    """
    tasks_of = getattr(scenario.source, "tasks", None)
    split = scenario.options.get("split")
    listed = tuple(tasks_of(split)) if tasks_of is not None and split is not None else ()
    if not listed:
        return None
    rng = generator(mix(whole_seed(run), label("cases")))
    rounds = -(-n_cases // len(listed))
    order = [int(i) for _ in range(rounds) for i in rng.permutation(len(listed))]
    return [listed[i] for i in order[:n_cases]]


def metrics(episodes: Sequence[Episode], *, by_task: bool = False) -> list[Metric]:
    """Return metrics of episodes: failures, grades, pay, prompts, verdicts, diversity.

    Every axis of the truth stands for itself; nothing is summed over axes.

    Args:
        episodes: of any cases.
        by_task: whether intervals of grades and pay are clustered by task: cases of one
            task count as one observation, their mean.

    Raises:
        InvalidOption: no episodes.
    """
    if not episodes:
        raise InvalidOption("no episodes, nothing to measure")
    failed = sum([episode.failed for episode in episodes])
    measured = [Metric("episodes.failed", *_bounded(share(failed, len(episodes))))]
    measured += _grades(episodes, by_task)
    measured += _pay(episodes, by_task)
    measured += _prompts(episodes)
    measured += _verdicts(episodes)
    measured += _diversity(episodes)
    return measured


def titled(name: str) -> str:
    """Return the title of a metric as it is declared, with its unit."""
    kind = kind_of(name)
    return f"{kind.title}, {kind.unit}" if kind.unit else kind.title


def paired(
    name: str,
    ours: Sequence[Episode],
    theirs: Sequence[Episode],
    of: Score,
    *,
    span: float = inf,
    by_task: bool = False,
) -> Metric:
    """Return the paired difference of a score between two sets of agents on the same cases.

    Args:
        name: of the metric.
        ours: episodes of the one.
        theirs: episodes of the other, over the same cases.
        of: the score; cases in which either has none are left out.
        span: largest difference that there can be, 1 for shares and grades.
        by_task: whether the differences of one task count as one, their mean.

    Raises:
        InvalidOption: no case has a score on both sides.
    """
    partners = {(e.key.case, e.key.member): e for e in theirs}
    differences: dict[str, list[float]] = {}
    for episode in ours:
        partner = partners.get((episode.key.case, episode.key.member))
        scores = (of(episode), of(partner)) if partner is not None else (None, None)
        if scores[0] is not None and scores[1] is not None:
            cluster = episode.task.id if by_task else str(len(differences))
            differences.setdefault(cluster, []).append(scores[0] - scores[1])
    if not differences:
        raise InvalidOption(
            f"no case has a {name} on both sides; play the same run and cases"
        )
    estimate = mean(_means(differences))
    return Metric(name, *_bounded(estimate, -span, span))


def pay_of(seat: Seat) -> Score:
    """Return the score that is a seat's pay."""
    return lambda episode: totals(episode.rewards, episode.weights).get(seat, 0.0)


def grade_of(axis: str, name: str = "") -> Score:
    """Return the score that is the last grade on an axis (and of a name)."""

    def score(episode: Episode) -> float | None:
        values = [
            grade.value
            for grade in episode.grades
            if grade.axis == axis and name in ("", grade.name)
        ]
        return values[-1] if values else None

    return score


def _grades(episodes: Iterable[Episode], by_task: bool) -> list[Metric]:
    """Measure the last answer of each episode on every axis."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for number, episode in enumerate(episodes):
        cluster = episode.task.id if by_task else str(number)
        latest = {(grade.axis, grade.name): grade.value for grade in episode.grades}
        for place, value in latest.items():
            if not applies(*place):  # always 1, whatever was answered
                continue
            values.setdefault(place, {}).setdefault(cluster, []).append(value)
    for axis, _ in values:
        declare(f"grade.{axis}", f"No fault in {axis}", unit="share", better="higher")
    return [
        Metric(f"grade.{axis}", *_estimate(_means(values[axis, name])), tags={"name": name})
        for axis, name in sorted(values)
    ]


def _pay(episodes: Sequence[Episode], by_task: bool) -> list[Metric]:
    """Measure the pay of every seat that something is paid to."""
    weights = episodes[0].weights
    measured = []
    for seat in episodes[0].seats:
        if any(weights.get(role_of(seat), {}).values()):
            paid: dict[str, list[float]] = {}
            for number, episode in enumerate(episodes):
                cluster = episode.task.id if by_task else str(number)
                paid.setdefault(cluster, []).append(pay_of(seat)(episode) or 0.0)
            measured.append(
                Metric("pay", *_bounded(mean(_means(paid))), tags={"seat": seat})
            )
    return measured


def _means(clusters: Mapping[str, Sequence[float]]) -> list[float]:
    """Return the mean of each cluster; a single number stays as it is."""
    return [v[0] if len(v) == 1 else fmean(v) for v in clusters.values()]


def _prompts(episodes: Iterable[Episode]) -> list[Metric]:
    """Measure how many prompts of each seat were not read as they were asked."""
    prompts: Counter[Seat] = Counter()
    noted: Counter[tuple[Seat, str]] = Counter()
    for episode in episodes:
        for utterance in episode.utterances:
            prompts[utterance.seat] += 1
            if utterance.reply is not None:
                noted.update((utterance.seat, kind) for kind in utterance.reply.notes)
    return [
        Metric(kind, *_bounded(share(count, prompts[seat])), tags={"seat": seat})
        for (seat, kind), count in sorted(noted.items())
    ]


def _verdicts(episodes: Iterable[Episode]) -> list[Metric]:
    """Compare verdicts with the grades of the turns that they are about."""
    stated: dict[Seat, tuple[list[float], list[float]]] = {}
    for episode in episodes:
        truth: dict[int, float] = {}
        for grade in episode.grades:
            truth[grade.turn] = min(truth.get(grade.turn, 1.0), grade.value)
        for fact in episode.judged:
            if fact.verdict is not None and fact.about in truth:
                scores, outcomes = stated.setdefault(fact.seat, ([], []))
                scores.append(fact.verdict.score)
                outcomes.append(truth[fact.about])
    metrics = []
    for seat, (scores, outcomes) in sorted(stated.items()):
        tags = {"seat": seat}
        metrics.append(
            Metric(
                "verdicts.brier", *_bounded(brier(scores, outcomes), 0.0, 1.0), tags=tags
            )
        )
        error = calibration_error(scores, outcomes)
        metrics.append(
            Metric("verdicts.calibration-error", error, n=len(scores), tags=tags)
        )
    return metrics


def _diversity(episodes: Iterable[Episode]) -> list[Metric]:
    texts: dict[Role, list[str]] = {}
    for episode in episodes:
        for utterance in episode.utterances:
            texts.setdefault(role_of(utterance.seat), []).append(utterance.text)
    metrics = []
    for role, utterances in sorted(texts.items()):
        tags, n = {"role": role}, len(utterances)
        metrics.append(
            Metric("diversity.distinct", distinct_share(utterances), n=n, tags=tags)
        )
        metrics.append(
            Metric("diversity.distinct-2", distinct_n(utterances, 2), n=n, tags=tags)
        )
    return metrics


def _estimate(values: Sequence[float]) -> Estimate:
    """Return a share where every value is 0 or 1, else a mean."""
    if all([value in (0.0, 1.0) for value in values]):
        return _bounded(share(sum(values), len(values)))
    graded = all([0.0 <= value <= 1.0 for value in values])
    return _bounded(mean(values), *((0.0, 1.0) if graded else ()))


def _bounded(estimate: Estimate, least: float = -inf, most: float = inf) -> Estimate:
    """Return an estimate whose interval fits its range; without one for a few observations.

    Args:
        estimate: of any quantity.
        least: smallest value that the quantity can have.
        most: its largest.
    """
    value, low, high, n = estimate
    if low is None or high is None or n < LEAST:
        return Estimate(value, None, None, n)
    return Estimate(value, max(low, least), min(high, most), n)
