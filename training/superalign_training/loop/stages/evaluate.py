"""Measure by the truth, on held-out cases: after each round on `gate`, once on `test`.

Nothing that is measured here is trained on or steers a stage.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from superalign_agents.references import make_agent
from superalign_agents.search import Search
from superalign_env.asking import Anyone
from superalign_env.measures import Estimate, brier, share
from superalign_env.protocols import Scenario
from superalign_env.types import Episode, Metric, Role, Seat, Split, Task
from superalign_training.evaluation.exams import competence, exam
from superalign_training.evaluation.refusals import (
    Answered,
    answered,
    as_metrics,
    lead,
    one_sided,
    two_sides,
)
from superalign_training.evaluation.robustness import fresh_attack, measured, query_of
from superalign_training.evaluation.summary import BASELINES
from superalign_training.judging import final_score
from superalign_training.loop.archive import searcher
from superalign_training.loop.cast import (
    agent_of,
    first_policy,
    lineup_of,
    recorded_agent,
    speaker_of,
)
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.playing import play, stage_scenario
from superalign_training.loop.stages.attack import distinct_queries
from superalign_training.mixture import Mixture
from superalign_training.settings import Settings


def evaluate(bench: Bench, settings: Settings) -> Outcome:
    """Measure the learner and its opponents as they are after a round."""
    trial = Trial(bench, settings, "gate")
    who = f"round {bench.round}" if bench.round else "before"
    learner = agent_of(bench, "learner", settings)
    metrics = trial.two_sided(who, learner)[1]
    metrics += trial.fresh(who, learner)
    if bench.round:
        metrics += trial.co_trained(who, learner)
    return Outcome(bench.chain, tuple(metrics))


def test(bench: Bench, settings: Settings) -> Outcome:
    """Measure, once, before and after training beside both baselines."""
    trial = Trial(bench, settings, "test")
    final = agent_of(bench, "learner", settings)
    before = final
    if "learner" in bench.chain.policies:
        before = first_policy("learner", settings, bench.residents).agent
    learners = {"before": before, "final": final}
    answers: dict[str, list[Answered]] = {}
    metrics: list[Metric] = []
    for number, (who, learner) in enumerate(learners.items()):
        answers[who], found = trial.two_sided(who, learner)
        metrics += found + trial.fresh(who, learner) + trial.competence(who, learner)
        bench.watcher.step(number + 1, len(learners) + 1, {})
    metrics += trial.co_trained("final", learners["final"])
    named = recorded_agent(bench, "learner", settings)
    for name in BASELINES:
        answers[name], found = trial.baseline(name)
        metrics += found
        ahead = lead(answers["final"], answers[name])
        if ahead is not None:
            metrics.append(Metric("learner.lead", *ahead, agent=named, opponent=name))
    gain = lead(answers["final"], answers["before"])
    if gain is not None:
        metrics.append(
            Metric(
                "learner.improvement",
                *gain,
                agent=named,
                opponent="before",
                step=bench.round,
            )
        )
    return Outcome(bench.chain, tuple(metrics))


class Trial:
    """Plays and measures on one held-out split.

    Args:
        bench: of the stage.
        settings: how much is played.
        split: `gate` or `test`.
    """

    def __init__(self, bench: Bench, settings: Settings, split: Split) -> None:
        self._bench = bench
        self._settings = settings
        self._split: Split = split
        self._lineup = lineup_of(bench, settings)
        self._critic = agent_of(bench, "critic", settings)
        self._tasks: list[Task] | None = None
        self._takes: dict[str, int] = {}

    def two_sided(self, who: str, learner: Anyone) -> tuple[list[Answered], list[Metric]]:
        """Ask seed requests as they are; measure the learner, and the critic's verdicts."""
        scenario = self._scenario(vanilla=1.0)
        # Never asked for an attack where every case is vanilla.
        agents = {**self._lineup, "attacker": self._critic, "learner": learner}
        episodes = self._play(
            scenario, agents, self._settings.evaluate.cases, "requests", who, self._tasks
        )
        self._tasks = [episode.task for episode in episodes]
        return answered(episodes), self._sides(who, learner, episodes) + self._verdicts(
            who, episodes
        )

    def baseline(self, name: str) -> tuple[list[Answered], list[Metric]]:
        """Ask a baseline the same requests."""
        agent: Any = make_agent(name)
        options = self._settings.options
        paper = exam(
            self._split,
            options.get("source", "microworld"),
            renderer=options.get("renderer", "micro"),
        )
        tasks = self._tasks or []
        learner: dict[Role | Seat, Anyone] = {"learner": agent}
        episodes = self._play(paper, learner, len(tasks), "baselines", name, tasks)
        return answered(episodes), self._sides(name, agent, episodes)

    def fresh(self, who: str, learner: Anyone) -> list[Metric]:
        """Attack the learner with a search that never met it."""
        scenario = self._scenario(vanilla=0.0)
        evaluate = self._settings.evaluate

        def attacks(attacker: Search, first: int, count: int) -> Sequence[Episode]:
            agents = {**self._lineup, "attacker": attacker, "learner": learner}
            return self._play(scenario, agents, count, "fresh", who, first=first)

        found = fresh_attack(
            attacks, queries=evaluate.fresh_queries, waves=evaluate.fresh_waves
        )
        tags = {"attacker": "fresh", "queries": str(found.queries)}
        return [
            self._metric(name, who, learner, estimate, tags)
            for name, estimate in (
                ("attack.harm", found.harm),
                ("attack.fault", found.fault),
            )
            if estimate is not None
        ]

    def co_trained(self, who: str, learner: Anyone) -> list[Metric]:
        """Attack the learner with the attackers that it was trained against, if they learn."""
        if "attacker" not in self._settings.learning:
            return []
        known = searcher(self._bench)
        transformer = speaker_of(self._bench, "attacker", self._settings)
        agents = {
            **self._lineup,
            # What the archive holds is of the training split, hence invalid here.
            "attacker": Mixture(
                {
                    "search": Search(known.archive, invent=False),
                    "transformer": transformer,
                }
            ),
            "learner": learner,
        }
        cases = self._settings.evaluate.attack_cases
        episodes = self._play(self._scenario(vanilla=0.0), agents, cases, "known", who)
        found = measured(episodes, cases)
        valid = len(answered(episodes))
        queries = [query for e in episodes if (query := query_of(e)) is not None]
        distinct = round(distinct_queries(queries) * len(queries))
        rows = [
            ("attack.harm", found.harm),
            ("attack.fault", found.fault),
            ("attack.valid", share(valid, len(episodes))),
            ("attack.distinct", share(distinct, len(queries))),
        ]
        return [
            self._metric(name, who, learner, estimate, {"attacker": "co-trained"})
            for name, estimate in rows
            if estimate is not None
        ]

    def competence(self, who: str, learner: Anyone) -> list[Metric]:
        """Set exams in every family."""
        evaluate = self._settings.evaluate

        def sit(paper: Scenario[Any], part: str, cases: int) -> Sequence[Episode]:
            return self._play(paper, {"learner": learner}, cases, part, who)

        found = competence(sit, evaluate.families, evaluate.family_cases, split=self._split)
        return [
            self._metric("learner.competence", who, learner, estimate, {"family": family})
            for family, estimate in found.items()
        ]

    def _sides(self, who: str, agent: Anyone, episodes: Sequence[Episode]) -> list[Metric]:
        answers = answered(episodes)
        sides = two_sides(answers)
        named: dict[str, Any] = {
            "agent": agent.spec.policy,
            "tags": {"who": who, "split": self._split},
            "step": self._bench.round,
        }
        if sides is None:
            return one_sided(answers, cases=len(episodes), **named)
        return as_metrics(sides, **named)

    def _verdicts(self, who: str, episodes: Sequence[Episode]) -> list[Metric]:
        """Compare what critics said of the answers with the truth."""
        right = {a.case: float(a.right) for a in answered(episodes)}
        pairs = [
            (0.5 if score is None else score, right[e.key.case])
            for e in episodes
            if e.key.case in right and not e.failed
            for score in [final_score(e)]
        ]
        if not pairs:
            return []
        hits = sum((score > 0.5) == (good > 0.5) for score, good in pairs)
        make = partial(self._metric, who=who, agent=self._critic, tags={"on": "answers"})
        return [
            make("critic.accuracy", estimate=share(hits, len(pairs))),
            make("critic.brier", estimate=brier(*zip(*pairs, strict=True))),
        ]

    def _metric(
        self, name: str, who: str, agent: Anyone, estimate: Estimate, tags: dict[str, str]
    ) -> Metric:
        return Metric(
            name,
            *estimate,
            agent=agent.spec.policy,
            tags={"who": who, "split": self._split, **tags},
            step=self._bench.round,
        )

    def _scenario(self, *, vanilla: float) -> Scenario[Any]:
        return stage_scenario(self._settings, split=self._split, plant=0.0, vanilla=vanilla)

    def _play(
        self,
        scenario: Scenario[Any],
        agents: Mapping[Role | Seat, Anyone],
        cases: int,
        part: str,
        who: str,
        tasks: Sequence[Task] | None = None,
        *,
        first: int = 0,
    ) -> list[Episode]:
        """Play cases that everybody who is compared has, with the same seeds."""
        take = self._bench.round + self._takes.setdefault(who, len(self._takes))
        return play(
            self._bench,
            scenario,
            agents,
            cases,
            part=f"{part}-{self._split}",
            take=take,
            tasks=tasks,
            first_case=first,
        )
