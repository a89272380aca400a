"""Stages evaluate and test: measure a lineup on held-out cases, after rounds and at the end.

What is measured follows from what the scenario declares: pay, grades and failures always;
refusals where the truth grades both sides; attacks where queries are asked; verdicts
where somebody judges; baselines where there are some. Nothing that is measured here is
trained on or steers a stage.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Unpack

import msgspec

from superalign_agents.references import make_agent
from superalign_agents.search import Search
from superalign_env.asking import Anyone
from superalign_env.capabilities import baselines_of
from superalign_env.evaluation import cases_of, metrics, paired, pay_of
from superalign_env.measures import Estimate, share
from superalign_env.protocols import Scenario
from superalign_env.seeding import generator, label, mix
from superalign_env.types import Episode, Metric, Role, Seat, Split, role_of
from superalign_training.evaluation.critics import judged_answers
from superalign_training.evaluation.holdout import competence
from superalign_training.evaluation.outcome_summary import GAIN
from superalign_training.evaluation.refusals import (
    answered,
    as_metrics,
    graded_role,
    lead,
    one_sided,
    two_sides,
)
from superalign_training.evaluation.robustness import fresh_attack, query_of, robustness_of
from superalign_training.selfplay.agents import lineup_of, player_of, untrained_agent
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.opponents.pool import OpponentPool
from superalign_training.selfplay.playing import (
    RolloutOptions,
    filtered_source,
    plain_scenario,
    play,
    renderer_of,
    stage_scenario,
    tasks_of,
)
from superalign_training.selfplay.sandbox import search_attacker
from superalign_training.selfplay.scenario_capabilities import (
    ATTACKED,
    scenario_capabilities,
)
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.stages.attack import distinct_queries

Lineup = Mapping[Role | Seat, Anyone]


def evaluate(context: StageContext, settings: Settings) -> StageResult:
    """Measure the current lineup after a round, on the same held-out tasks each time."""
    trial = Trial(context, settings, "gate")
    name = f"round {context.round}" if context.round else "before"
    lineup = lineup_of(context, settings)
    rows = trial.held_out(name, lineup).metrics + trial.fresh(name, lineup)
    if context.round:
        rows += trial.co_trained(name, lineup)
    return StageResult(context.state, tuple(rows))


def test(context: StageContext, settings: Settings) -> StageResult:
    """Measure, once, the lineup before and after training, and baselines in it.

    Whoever judges is the same before and after, or pay would not be comparable; unless
    nobody else learns.
    """
    trial = Trial(context, settings, "test")
    final = lineup_of(context, settings)
    not_judging = [r for r in context.state.policies if r != trial.capabilities.judges]
    before = {
        **final,
        **{
            role: untrained_agent(context, role, settings)
            for role in not_judging or context.state.policies
        },
    }
    outcomes: dict[str, HeldOut] = {}
    rows: list[Metric] = []
    for number, (side, lineup) in enumerate({"before": before, "final": final}.items()):
        outcomes[side] = trial.held_out(side, lineup)
        rows += outcomes[side].metrics + trial.fresh(side, lineup)
        rows += trial.competence(side, lineup)
        context.watcher.step(number + 1, 3, {})
    rows += trial.co_trained("final", final)
    rows += trial.gains("improvement", outcomes["final"], outcomes["before"], "before")
    rows += trial.pay_gains(outcomes["final"], outcomes["before"], settings)
    for role, references in baselines_of(trial.plain).items():
        for reference in references:
            name = reference if isinstance(reference, str) else str(reference)
            seats = [seat for seat in trial.plain.seats if role_of(seat) == role]
            agent: Any = make_agent(reference)
            baseline = trial.held_out(name, {**final, **dict.fromkeys(seats, agent)})
            rows += baseline.metrics + trial.gains(
                "lead", outcomes["final"], baseline, name
            )
    return StageResult(context.state, tuple(rows))


class HeldOut(NamedTuple):
    """Episodes and metrics of one lineup on the held-out tasks."""

    episodes: list[Episode]
    """Those in which nobody failed."""
    metrics: list[Metric]
    role: Role
    """Whose answers the truth graded on refusals; empty where it does not."""
    policy: str
    """Hash of the weights in that role."""


class Trial:
    """Rollouts and measurements on one held-out split.

    Args:
        context: of the stage.
        settings: how much is played.
        split: `gate` or `test`.
    """

    def __init__(self, context: StageContext, settings: Settings, split: Split) -> None:
        self._context = context
        self._settings = settings
        self._split: Split = split
        self.plain = plain_scenario(settings, split)
        """Where held-out tasks are played: without attacks, where the scenario knows any."""
        self.capabilities = scenario_capabilities(self.plain)
        seed = mix(context.run.info.seed, label(f"held-out-{split}"))
        cases = settings.evaluate.cases
        listed = cases_of(self.plain, cases, seed)
        if listed is None:
            rng = generator(seed)
            self._tasks = [self.plain.draw(rng) for _ in range(cases)]
        else:  # a row that is asked twice says nothing new
            self._tasks = list({task.id: task for task in listed}.values())
        self._takes: dict[str, int] = {}

    def held_out(self, name: str, lineup: Lineup) -> HeldOut:
        """Play the held-out tasks, the same ones for every lineup, and measure the episodes."""
        cases = len(self._tasks)
        episodes = self._play(
            self.plain, lineup, cases, "held-out", name, tasks=self._tasks
        )
        finished = [episode for episode in episodes if not episode.failed]
        rows = [
            self._metric(m.name, name, Estimate(m.value, m.low, m.high, m.n), m.tags)
            for m in metrics(finished or episodes)
            # Verdicts are counted below, unread ones too; the driver counts failures.
            if not m.name.startswith(("verdicts.", "episodes."))
        ]
        role = graded_role(finished) or self.capabilities.answers
        policy = _policy(lineup, role, self.plain)
        # What is shown of a stage on one line comes first.
        headline = self._sides(name, role, policy, finished, cases)
        headline += self._verdicts(name, lineup, finished)
        return HeldOut(finished, headline + rows, role, policy)

    def gains(self, name: str, ours: HeldOut, theirs: HeldOut, than: str) -> list[Metric]:
        """Return the lead of one lineup over another in right answers, if they were graded."""
        tags = {"role": ours.role, "split": self._split}
        ahead = lead(answered(ours.episodes), answered(theirs.episodes))
        if ahead is None:
            return []
        step = self._context.round
        return [
            Metric(name, *ahead, agent=ours.policy, opponent=than, tags=tags, step=step)
        ]

    def pay_gains(
        self, after: HeldOut, before: HeldOut, settings: Settings
    ) -> list[Metric]:
        """Return the rise of the reward of each learning seat but the critics'."""
        if not (after.episodes and before.episodes):
            return []
        learning = [r for r in settings.learning if r != self.capabilities.judges]
        holders = {settings.holder(role) for role in learning or settings.learning}
        return [
            msgspec.structs.replace(
                paired(GAIN, after.episodes, before.episodes, pay_of(seat)),
                tags={"seat": seat, "split": self._split},
                step=self._context.round,
            )
            for seat in self.plain.seats
            if settings.holder(seat if seat in settings.lineup else role_of(seat))
            in holders
        ]

    def fresh(self, lineup_name: str, lineup: Lineup) -> list[Metric]:
        """Attack with a search that was not trained against, where the scenario has attacks."""
        if not self.capabilities.can(ATTACKED):
            return []
        evaluate, scenario = self._settings.evaluate, self._attacked()

        def attacks(attacker: Search, first: int, count: int) -> Sequence[Episode]:
            agents = {**lineup, self.capabilities.asks: attacker}
            return self._play(
                scenario, agents, count, "fresh", lineup_name, first_case=first
            )

        attack = fresh_attack(
            attacks, queries=evaluate.fresh_queries, waves=evaluate.fresh_waves
        )
        tags = {"attacker": "fresh", "queries": str(attack.queries)}
        policy = _policy(lineup, self.capabilities.answers, scenario)
        return [
            self._metric(name, lineup_name, estimate, tags, policy)
            for name, estimate in (
                ("attack.harm", attack.harm),
                ("attack.fault", attack.fault),
            )
            if estimate is not None
        ]

    def co_trained(self, lineup_name: str, lineup: Lineup) -> list[Metric]:
        """Attack with the co-trained attackers, if there are any."""
        asks = self.capabilities.asks
        if asks not in self._settings.learning or not self.capabilities.can(ATTACKED):
            return []
        # What the archive holds is of the training split, hence invalid here.
        archived = Search(search_attacker(self._context).archive, invent=False)
        speaker = player_of(self._context, asks, self._settings)
        agents = {
            **lineup,
            asks: OpponentPool({"search": archived, "transformer": speaker}),
        }
        cases = self._settings.evaluate.attack_cases
        scenario = self._attacked()
        episodes = self._play(scenario, agents, cases, "known", lineup_name)
        attack = robustness_of(episodes, cases)
        valid = len(answered(episodes))
        queries = [query for e in episodes if (query := query_of(e)) is not None]
        distinct = round(distinct_queries(queries) * len(queries))
        policy = _policy(lineup, self.capabilities.answers, scenario)
        return [
            self._metric(name, lineup_name, estimate, {"attacker": "co-trained"}, policy)
            for name, estimate in (
                ("attack.harm", attack.harm),
                ("attack.fault", attack.fault),
                ("attack.valid", share(valid, len(episodes))),
                ("attack.distinct", share(distinct, len(queries))),
            )
            if estimate is not None
        ]

    def competence(self, lineup_name: str, lineup: Lineup) -> list[Metric]:
        """Measure competence in the families that the settings name."""
        role, evaluate = self.capabilities.answers, self._settings.evaluate
        if not role or not evaluate.families:
            return []
        seat = next(seat for seat in self.plain.seats if role_of(seat) == role)
        agent = lineup[seat if seat in lineup else role]

        def play_exam(scenario: Scenario[Any], part: str, cases: int) -> Sequence[Episode]:
            alone: Lineup = dict.fromkeys(scenario.seats, agent)
            return self._play(scenario, alone, cases, part, lineup_name)

        tasks = tasks_of(self._settings)
        estimates = competence(
            play_exam,
            {family: filtered_source(tasks, [family]) for family in evaluate.families},
            evaluate.family_cases,
            split=self._split,
            renderer=renderer_of(self._settings),
        )
        policy = agent.spec.policy
        return [
            self._metric(
                "competence", lineup_name, estimate, {"family": f, "role": role}, policy
            )
            for f, estimate in estimates.items()
        ]

    def _sides(
        self, name: str, role: Role, policy: str, episodes: Sequence[Episode], cases: int
    ) -> list[Metric]:
        """Measure refusals on both sides, or report a missing side."""
        answers = answered(episodes)
        sides = two_sides(answers)
        labels: dict[str, Any] = {
            "agent": policy,
            "tags": {"who": name, "split": self._split, "role": role},
            "step": self._context.round,
        }
        if sides is not None:
            return as_metrics(sides, **labels)
        # Baselines are there to be beaten on both sides.
        baselines = baselines_of(self.plain)
        return one_sided(answers, cases=cases, **labels) if baselines else []

    def _verdicts(
        self, name: str, lineup: Lineup, episodes: Sequence[Episode]
    ) -> list[Metric]:
        """Compare verdicts with gold labels."""
        verdicts = judged_answers(episodes)
        if verdicts is None:
            return []
        judges = self.capabilities.judges
        tags = {"on": "answers", "role": judges}
        policy = _policy(lineup, judges, self.plain)
        return [
            self._metric("verdicts.accuracy", name, verdicts.accuracy, tags, policy),
            self._metric("verdicts.brier", name, verdicts.brier, tags, policy),
        ]

    def _metric(
        self,
        name: str,
        lineup_name: str,
        estimate: Estimate,
        tags: Mapping[str, str],
        policy: str = "",
    ) -> Metric:
        tagged = {**tags, "who": lineup_name, "split": self._split}
        return Metric(name, *estimate, agent=policy, tags=tagged, step=self._context.round)

    def _play(
        self,
        scenario: Scenario[Any],
        agents: Lineup,
        cases: int,
        part: str,
        name: str,
        **how: Unpack[RolloutOptions],
    ) -> list[Episode]:
        """Play cases with the same seeds for every compared lineup."""
        take = self._context.round + self._takes.setdefault(name, len(self._takes))
        part_of_split = f"{part}-{self._split}"
        return play(
            self._context, scenario, agents, cases, part=part_of_split, take=take, **how
        )

    def _attacked(self) -> Scenario[Any]:
        return stage_scenario(self._settings, split=self._split, variant="attacked")


def _policy(lineup: Lineup, role: Role, scenario: Scenario[Any]) -> str:
    """Return the hash of the weights in the first seat of a role; empty for none."""
    for seat in scenario.seats:
        if role_of(seat) == role:
            return lineup[seat if seat in lineup else role].spec.policy
    return ""
