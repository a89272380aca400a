"""A simulated person of the microworld: a group's values, and words misread at random.

It stands for a person whose answers and verdicts are wanted in a seat, like those of a
model. It knows the values of its group, as people know their own, so it is no model of how
well anything can be learned without them: at no noise it is the truth itself.
"""

from collections.abc import Sequence

from superalign_env.errors import InvalidOption
from superalign_env.humans.misreading import misread
from superalign_env.seeding import generator, label, mix
from superalign_env.types import (
    SPLITS,
    AgentSpec,
    Fault,
    Reply,
    Task,
    Verdict,
    View,
    role_of,
)
from superalign_env.verdicts import to_form
from superalign_scenarios.grading import fault_kind
from superalign_scenarios.microworld.family import TIERS
from superalign_scenarios.microworld.source import FAMILIES, MicroWorld

_READING = label("reading")


class SimulatedPersona:
    """Simulated member of a group of people, who answers tasks and judges answers.

    Args:
        group: whose values it holds.
        noise: probability of reading one word of a task wrongly, drawn from the view's
            seed: errors that average out over views.
        blind: words that it cannot tell apart: the same errors every time.
        drift: epoch of the values; 0 is the present.
        answers: role whose latest turn it judges.

    Raises:
        UnknownId: no such group.
        InvalidOption: a noise that is no probability.
    """

    def __init__(
        self,
        *,
        group: str = "everyone",
        noise: float = 0.1,
        blind: Sequence[str] = (),
        drift: int = 0,
        answers: str = "learner",
    ) -> None:
        if not 0.0 <= noise <= 1.0:
            raise InvalidOption(f"noise is a probability, in [0, 1], not {noise}")
        self._world = MicroWorld(families=FAMILIES, tiers=TIERS, group=group, drift=drift)
        self._noise = noise
        self._blind = tuple(blind)
        self._answers = answers
        self._spec = AgentSpec(
            "simulated-persona",
            {
                "group": group,
                "noise": noise,
                "blind": list(blind),
                "drift": drift,
                "answers": answers,
            },
        )

    @property
    def spec(self) -> AgentSpec:
        """Group, noise and blind words."""
        return self._spec

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return a verdict for a critic's view, and an answer for any other."""
        return [
            self._verdict(view) if view.role == "critic" else self._answer(view)
            for view in views
        ]

    def _answer(self, view: View) -> Reply:
        task = self._read(view, len(view.turns))
        if task is None:
            return Reply(
                "",
                finish="error",
                error="this is no task of the microworld: nothing to say",
            )
        return Reply(self._world.gold(task).answer, finish="stop")

    def _verdict(self, view: View) -> Reply:
        return Reply(to_form(self._judged(view), view.form), finish="stop")

    def _judged(self, view: View) -> Verdict:
        """Return the verdict on the latest answer; score 0.5, confidence 0 without a task."""
        spoken = [
            place
            for place, turn in enumerate(view.turns)
            if role_of(turn.author) == self._answers
        ]
        task = self._read(view, spoken[-1]) if spoken else None
        if task is None:
            return Verdict(0.5, 0.0)
        grades = self._world.grade(task, view.turns[spoken[-1]].text)
        score = min([grade.value for grade in grades])
        kind = fault_kind(grades)
        faults = (Fault(kind, "", 1.0 - score),) if kind else ()
        return Verdict(score, 1.0 - self._noise, faults)

    def _read(self, view: View, before: int) -> Task | None:
        """Return the last task before a turn, as the persona misreads it."""
        for turn in reversed(view.turns[:before]):
            for split in SPLITS:
                task = self._world.parse(turn.text, split)
                if task is not None:
                    return self._slipped(misread(self._world, task, self._blind), view.seed)
        return None

    def _slipped(self, task: Task, seed: int) -> Task:
        coin, pick = generator(mix(seed, _READING)).random(2).tolist()
        if coin >= self._noise:
            return task
        menu = self._world.menu(task)
        return self._world.parse(menu[int(pick * len(menu))], task.split) or task
