"""Deploying a learner where nothing can be harmed: requests, attacks, old hazards.

Critics say what went wrong: that of the chain and, beside it, those that
``discover.critics`` names. The truth is recorded, as everywhere, and not read.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from superalign_agents.references import make_agent
from superalign_env.asking import Anyone
from superalign_env.measures import share
from superalign_env.protocols import Agent, Scenario
from superalign_env.seeding import generator, label, mix
from superalign_env.store.hazards import Hazard
from superalign_env.types import Episode, Metric, Role, Seat, Split, Task
from superalign_training.judging import final_score, last_answer
from superalign_training.loop.cast import agent_of
from superalign_training.loop.driver import Bench
from superalign_training.loop.playing import play, seat_of, stage_scenario
from superalign_training.settings import Settings

ANSWERED = "hazard.answered"
"""Event: a safe answer, and who gave it."""


class Sandbox:
    """Where a stage deploys learners.

    Args:
        bench: of the stage.
        settings: of the run.
        split: whose requests are valid.
    """

    def __init__(self, bench: Bench, settings: Settings, split: Split = "train") -> None:
        self._bench = bench
        self._settings = settings
        self._split = split
        own = int(settings.options.get("critics", 1))
        further = settings.discover.critics
        self._options: dict[str, Any] = {"critics": own + len(further)} if further else {}
        self._critics: dict[Role | Seat, Anyone] = {
            "critic": agent_of(bench, "critic", settings),
            **{
                f"critic_{own + number}": make_agent(reference)
                for number, reference in enumerate(further)
            },
        }
        self.plain = self.scenario(vanilla=1.0)
        """Where requests reach the learner as they are."""
        self.seat = seat_of(self.plain, "learner")

    def scenario(self, *, vanilla: float) -> Scenario[Any]:
        """Return the scenario with a share of plain requests."""
        return stage_scenario(
            self._settings,
            split=self._split,
            plant=0.0,
            vanilla=vanilla,
            **self._options,
        )

    def attacked(
        self,
        learner: Agent,
        attacker: Agent,
        cases: int,
        *,
        part: str,
        vanilla: float = 0.0,
        first_case: int = 0,
    ) -> list[Episode]:
        """Play cases in which an attacker rewrites requests, all but a share of them."""
        agents = {**self._critics, "learner": learner, "attacker": attacker}
        return play(
            self._bench,
            self.scenario(vanilla=vanilla),
            agents,
            cases,
            part=part,
            first_case=first_case,
        )

    def asked(
        self,
        learner: Agent,
        cases: int,
        *,
        part: str,
        tasks: Sequence[Task] | None = None,
    ) -> list[Episode]:
        """Play plain requests: drawn ones, or these."""
        # Nobody attacks where every case is plain.
        agents = {**self._critics, "learner": learner, "attacker": learner}
        return play(self._bench, self.plain, agents, cases, part=part, tasks=tasks)


class Tried(NamedTuple):
    """An old hazard, and what became of it now."""

    hazard: Hazard
    answer: str
    failed: bool


def hazard_task(sandbox: Sandbox, bench: Bench, hazard: Hazard) -> Task | None:
    """Return a hazard's request as a task; None where it cannot be asked by itself."""
    parsed = sandbox.plain.source.parse(hazard.prompt, "train")
    if parsed is not None or hazard.event is None:
        return parsed
    found = bench.run.events.get([hazard.event]).get(hazard.event)
    if found is None or not found.episode:
        return None
    task = bench.run.episode(found.episode).task
    return task if task.prompt == hazard.prompt else None


def old_hazards(bench: Bench, most: int) -> list[Hazard]:
    """Return hazards of earlier generations, the same ones in all stages of a generation.

    Those that were dismissed before the generation began are none.
    """
    begun = {s.id for s in bench.run.stages.all() if s.generation < bench.generation}
    overruled = {
        str(h.event.evidence["hazard"]): h.event.evidence["dismissed"]
        for h in bench.run.events.read(kind=ANSWERED)
        if h.stage in begun
    }
    old = [
        hazard
        for hazard in bench.run.hazards.all()
        if hazard.generation < bench.generation and not overruled.get(hazard.id)
    ]
    key = mix(bench.run.info.seed, label("old-hazards"), bench.generation)
    order = generator(key).permutation(len(old))[:most]
    return [old[place] for place in sorted(order.tolist())]


def tried_again(
    bench: Bench, sandbox: Sandbox, learner: Agent, hazards: Sequence[Hazard], below: float
) -> list[Tried]:
    """Ask a learner what earlier ones answered badly, and say whether it still does.

    Where the safe answer is known and the request is a choice between answers, another
    answer is a failure; elsewhere critics say it. A hazard that cannot be asked is left out.

    Args:
        bench: of the stage.
        sandbox: of the training split.
        learner: who is asked.
        hazards: of earlier generations.
        below: mean score of critics that is a failure.
    """
    asked = [
        (hazard, task)
        for hazard in hazards
        for task in [hazard_task(sandbox, bench, hazard)]
        if task is not None
    ]
    if not asked:
        return []
    tasks = [task for _, task in asked]
    episodes = sandbox.asked(learner, len(tasks), part="old-hazards", tasks=tasks)
    return [
        Tried(hazard, *_outcome(hazard, task, episode, below))
        for (hazard, task), episode in zip(asked, episodes, strict=True)
    ]


def _outcome(
    hazard: Hazard, task: Task, episode: Episode, below: float
) -> tuple[str, bool]:
    said = last_answer(episode)
    answer = said.text if said is not None else ""
    if hazard.safe and task.choices:
        return answer, answer.strip().casefold() != hazard.safe.strip().casefold()
    score = final_score(episode)
    return answer, score is None or score < below


def residual(
    tried: Sequence[Tried], *, side: str, agent: str, step: int
) -> tuple[Metric, ...]:
    """Return the share of old hazards on which a learner still misbehaves, if there are any."""
    if not tried:
        return ()
    found = share(sum(one.failed for one in tried), len(tried))
    return (Metric("risk.residual", *found, agent=agent, tags={"side": side}, step=step),)
