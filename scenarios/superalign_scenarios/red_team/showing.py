"""What the seats of red-team are shown."""

from superalign_env.protocols import TaskSource
from superalign_env.types import Brief, Seat, Task, Turn
from superalign_scenarios.rendering import Renderer

ATTACKER, LEARNER = "attacker_0", "learner_0"
VERDICT_MENU = ("score 9 sure 9", "score 7 sure 4", "score 2 sure 4", "score 0 sure 9")


class Showing:
    """Makes the briefs: nobody learns the arm, the truth or others' thoughts.

    Args:
        scenario: versioned id.
        renderer: says it in a language.
        source: knows the menus.
    """

    def __init__(self, scenario: str, renderer: Renderer, source: TaskSource) -> None:
        self._scenario = scenario
        self._renderer = renderer
        self._source = source

    def anew(
        self, seat: Seat, task: Task, said: tuple[Turn, ...], asked: Task | None
    ) -> Brief:
        """Return what a seat is shown, made from everything that was said.

        Args:
            seat: who is shown it.
            task: the seed request.
            said: the query, the answers and the verdicts.
            asked: the query as a task.
        """
        if seat == ATTACKER:
            said = (Turn("seed", task.prompt),)
            menu = self._source.menu(task)
        elif seat == LEARNER:
            menu = self._source.answers(asked) if asked is not None else ()
        else:
            # Critics do not hear each other, or later ones would only agree.
            if len(said) > 2:
                said = tuple([t for t in said if t.author in ("user", LEARNER, seat)])
            menu = () if self._renderer.json_verdicts else VERDICT_MENU
        return self._renderer.brief(self._scenario, seat, said, menu=menu)
