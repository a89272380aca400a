"""What the seats of red-team are shown."""

from superalign_env.protocols import TaskSource
from superalign_env.types import Brief, Seat, Task, Turn
from superalign_scenarios.red_team.state import State
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

    def next(
        self, seat: Seat, state: State, said: tuple[Turn, ...], new: tuple[Turn, ...]
    ) -> Brief:
        """Return the same as `anew`, but continue what the seat was shown last.

        Args:
            seat: who is shown it.
            state: at which it was shown something, if it was.
            said: everything by now.
            new: of it what the seat has not read yet: its own reply, then others.
        """
        last = state.shown.get(seat)
        if last is None:
            return self.anew(seat, state.task, said, state.asked)
        return self._renderer.continued(last, seat, new)
