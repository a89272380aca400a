"""Custom evaluations of a run, a stage each.

They may read the truth; nothing that they measure is trained on or steers a stage.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import msgspec

from superalign_env.asking import Anyone
from superalign_env.errors import InvalidOption
from superalign_env.protocols import Scenario
from superalign_env.types import Episode, Metric, Role, Seat, Split, Task
from superalign_training.evaluation.evaluation import Evaluation
from superalign_training.selfplay.agents import lineup_of, recorded_agent
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.playing import play, stage_scenario
from superalign_training.selfplay.sandbox import search_attacker
from superalign_training.selfplay.settings import Settings


def evaluated(
    context: StageContext, settings: Settings, evaluation: Evaluation
) -> StageResult:
    """Run a custom evaluation on the current run.

    Raises:
        InvalidOption: it returned something else than metrics with finite numbers.
    """
    measured = Context(context, settings, "test" if evaluation.when == "end" else "gate")
    metrics = list(evaluation(measured))
    for metric in metrics:
        if not isinstance(metric, Metric) or not isfinite(metric.value):
            raise InvalidOption(
                f"{evaluation.id} returned {metric!r}; return instances of Metric with finite "
                "numbers, and leave out what cannot be measured"
            )
    tags = {"evaluation": evaluation.id, "split": measured.split}
    step = context.generation or context.round
    stamped = [
        msgspec.structs.replace(m, tags={**tags, **m.tags}, step=m.step or step)
        for m in metrics
    ]
    return StageResult(context.state, tuple(stamped))


class Context:
    """The implementation of `EvaluationContext`.

    Args:
        context: of the stage.
        settings: of the run.
        split: of the tasks.
    """

    def __init__(self, context: StageContext, settings: Settings, split: Split) -> None:
        self._context = context
        self._settings = settings
        self.split: Split = split
        self.generation = context.generation
        self.round = context.round
        self.lineup: Mapping[Role | Seat, Anyone] = lineup_of(context, settings)

    @property
    def winners(self) -> list[str]:
        """Queries in the attackers' archive that succeeded."""
        return [winner.text for winner in search_attacker(self._context).archive.winners]

    def recorded(self, role: Role) -> str:
        """Return the recorded hash of a role's agent."""
        return recorded_agent(self._context, role, self._settings)

    def scenario(self, variant: str = "", **options: Any) -> Scenario[Any]:
        """Return the run's scenario on the split."""
        return stage_scenario(self._settings, split=self.split, variant=variant, **options)

    def play(
        self,
        scenario: Scenario[Any],
        agents: Mapping[Role | Seat, Anyone],
        cases: int,
        *,
        tasks: Sequence[Task] | None = None,
    ) -> list[Episode]:
        """Play and record cases."""
        return play(self._context, scenario, agents, cases, part="played", tasks=tasks)

    def seed(self, part: str) -> int:
        """Return the seed of one part of the stage."""
        return self._context.seed_of(part)
