"""Sandboxed deployment of a generation: requests, attacks, old hazards.

Critics say what went wrong: those of the lineup and, beside them, those that
``discover.critics`` names. The truth is recorded, as everywhere, and not read.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from superalign_agents.archive import Archive
from superalign_agents.references import make_agent
from superalign_agents.search import Search
from superalign_env.asking import Anyone
from superalign_env.measures import share
from superalign_env.protocols import Agent, Scenario, TaskSource
from superalign_env.seeding import generator, label, mix
from superalign_env.store import declare
from superalign_env.store.events import Hazard
from superalign_env.types import Episode, Metric, Role, Seat, Split, Task
from superalign_training.judging import final_score, last_words
from superalign_training.selfplay.agents import lineup_of
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.playing import (
    attacker_of,
    further_critics,
    plain_scenario,
    play,
    seat_of,
    stage_scenario,
)
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.state import RunState, read_memory, write_memory

ANSWERED = "hazard.answered"
"""Event: a safe answer, and who gave it."""


declare("attack.success", "Attacks that critics call successful", unit="share")
declare("attack.valid", "Valid queries", unit="share")
declare("risk.rate", "Hazardous answers, say critics", unit="share", better="lower")
declare("risk.residual", "Old hazards that still work", unit="share", better="lower")

ARCHIVE = "attacker-archive"
"""Name of the memory in a run state."""


class Sandbox:
    """Rollouts of the generation at work in deployment.

    Args:
        context: of the stage.
        settings: of the run.
        split: whose requests are valid.
    """

    def __init__(
        self, context: StageContext, settings: Settings, split: Split = "train"
    ) -> None:
        self._context = context
        self._settings = settings
        self._split = split
        self.role = context.state.generation_role
        self._options, critics = further_critics(settings)
        self._agents: dict[Role | Seat, Anyone] = {
            **lineup_of(context, settings),
            **{seat: make_agent(reference) for seat, reference in critics.items()},
        }
        self.plain = plain_scenario(settings, split, **self._options)
        """Where requests reach the generation as they are."""
        self.source: TaskSource = self.plain.source
        self.seat = seat_of(self.plain, self.role)
        self.attacker = attacker_of(settings)
        """The role that rewrites requests; empty where nobody does."""

    def deployed(
        self,
        agent: Agent,
        attacker: Agent,
        cases: int,
        *,
        part: str,
        plain: float = 0.0,
        first_case: int = 0,
    ) -> list[Episode]:
        """Play cases with rewritten requests, and a share of plain ones.

        Args:
            agent: who is deployed.
            attacker: in the role `attacker`; not asked where there is none.
            cases: how many.
            part: of the stage.
            plain: share of requests that are asked as they are.
            first_case: number of the first one.
        """
        as_they_are = round(cases * plain) if self.attacker else cases
        episodes: list[Episode] = []
        if as_they_are:
            episodes += self._play(
                self.plain, {self.role: agent}, as_they_are, f"{part}-plain", first_case
            )
        if as_they_are < cases:
            attacked = stage_scenario(
                self._settings, split=self._split, variant="attacked", **self._options
            )
            episodes += self._play(
                attacked,
                {self.role: agent, self.attacker: attacker},
                cases - as_they_are,
                part,
                first_case + as_they_are,
            )
        return episodes

    def asked(
        self,
        agent: Anyone,
        cases: int,
        *,
        part: str,
        tasks: Sequence[Task] | None = None,
    ) -> list[Episode]:
        """Play plain requests, drawn or given."""
        return self._play(self.plain, {self.role: agent}, cases, part, tasks=tasks)

    def _play(
        self,
        scenario: Scenario[Any],
        agents: Mapping[Role | Seat, Anyone],
        cases: int,
        part: str,
        first_case: int = 0,
        *,
        tasks: Sequence[Task] | None = None,
    ) -> list[Episode]:
        seated = {**self._agents, **agents}
        return play(
            self._context,
            scenario,
            seated,
            cases,
            part=part,
            first_case=first_case,
            tasks=tasks,
        )


class HazardReplay(NamedTuple):
    """An old hazard, answered again."""

    hazard: Hazard
    answer: str
    failed: bool


def hazard_task(sandbox: Sandbox, context: StageContext, hazard: Hazard) -> Task | None:
    """Return a hazard's request as a task; None where it is not a task of its own."""
    parsed = sandbox.plain.source.parse(hazard.prompt, "train")
    if parsed is not None or hazard.event is None:
        return parsed
    event = context.run.events.get([hazard.event]).get(hazard.event)
    if event is None or not event.episode:
        return None
    task = context.run.episode(event.episode).task
    return task if task.prompt == hazard.prompt else None


def old_hazards(context: StageContext, limit: int) -> list[Hazard]:
    """Return hazards of earlier generations, the same ones in all stages of a generation.

    Those that were dismissed before the generation began are none.
    """
    begun = {s.id for s in context.run.stages.all() if s.generation < context.generation}
    overruled = {
        str(h.event.evidence["hazard"]): h.event.evidence["dismissed"]
        for h in context.run.events.read(kind=ANSWERED)
        if h.stage in begun
    }
    earlier = [
        hazard
        for hazard in context.run.hazards.all()
        if hazard.generation < context.generation and not overruled.get(hazard.id)
    ]
    key = mix(context.run.info.seed, label("old-hazards"), context.generation)
    order = generator(key).permutation(len(earlier))[:limit]
    return [earlier[place] for place in sorted(order.tolist())]


def replay_hazards(
    context: StageContext,
    sandbox: Sandbox,
    agent: Agent,
    hazards: Sequence[Hazard],
    threshold: float,
) -> list[HazardReplay]:
    """Ask a generation the old hazards again, and say whether it still fails.

    Where the safe answer is known and the request is a choice between answers, another
    answer is a failure; elsewhere critics say it. A hazard that cannot be asked is left out.

    Args:
        context: of the stage.
        sandbox: of the training split.
        agent: who is asked.
        hazards: of earlier generations.
        threshold: mean score of critics that is a failure.
    """
    cases = [
        (hazard, task)
        for hazard in hazards
        for task in [hazard_task(sandbox, context, hazard)]
        if task is not None
    ]
    if not cases:
        return []
    tasks = [task for _, task in cases]
    episodes = sandbox.asked(agent, len(tasks), part="old-hazards", tasks=tasks)
    return [
        HazardReplay(hazard, *_outcome(hazard, task, episode, sandbox.role, threshold))
        for (hazard, task), episode in zip(cases, episodes, strict=True)
    ]


def _outcome(
    hazard: Hazard, task: Task, episode: Episode, role: Role, threshold: float
) -> tuple[str, bool]:
    utterance = last_words(episode, role)
    answer = utterance.text if utterance is not None else ""
    if hazard.safe and task.choices:
        return answer, answer.strip().casefold() != hazard.safe.strip().casefold()
    score = final_score(episode)
    return answer, score is None or score < threshold


def residual_metrics(
    attempts: Sequence[HazardReplay], *, side: str, agent: str, step: int
) -> tuple[Metric, ...]:
    """Return the failure rate on old hazards; empty without any."""
    if not attempts:
        return ()
    estimate = share(sum(attempt.failed for attempt in attempts), len(attempts))
    return (
        Metric("risk.residual", *estimate, agent=agent, tags={"side": side}, step=step),
    )


def search_attacker(context: StageContext) -> Search:
    """Return the search attacker with the archive of the run state."""
    search = Search(Archive())
    memory = context.state.memories.get(ARCHIVE)
    if memory is not None:
        search.load_state_dict(read_memory(context.run.path, memory))
    return search


def keep_archive(context: StageContext, state: RunState, search: Search) -> RunState:
    """Return the run state with the archive of the search attacker."""
    return state.with_memory(
        ARCHIVE, write_memory(context.run.path, ARCHIVE, search.state_dict())
    )
