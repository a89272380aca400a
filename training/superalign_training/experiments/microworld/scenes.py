"""Moments of red-team that nobody played: a request, an answer, verdicts, as seats see them.

What a controlled probe asks has to look exactly like what the game shows; so it is the
game's own rules and renderer that show it.
"""

from collections.abc import Sequence

from superalign_env.errors import InvalidOption
from superalign_env.seeding import mix
from superalign_env.types import Seat, Split, Turn, View
from superalign_scenarios.red_team import RedTeam
from superalign_scenarios.red_team.state import Phase, State
from superalign_scenarios.sources import SourceSpec
from superalign_training.evaluation.holdout import view_of

ANY_TIER: SourceSpec = {"id": "microworld", "tiers": [1, 2, 3]}


class Scenes:
    """Shows requests to learners and answers to critics.

    Args:
        split: that requests must belong to.
        source: of the requests.
        renderer: ``micro`` or ``english``.
        seed: of the agents' random numbers; the same for every view of a case.
    """

    def __init__(
        self,
        split: Split,
        *,
        source: SourceSpec = ANY_TIER,
        renderer: str = "micro",
        seed: int = 0,
    ) -> None:
        self.rules = RedTeam(source=source, split=split, critics=2, renderer=renderer)
        self._seed = seed

    def asked(self, case: int, request: str) -> View:
        """Return what a learner is shown that is to answer."""
        return self._view(case, request, "learner_0", "answer", ())

    def judged(self, case: int, request: str, answer: str) -> View:
        """Return what a critic is shown that is to judge an answer."""
        said = (Turn("learner_0", answer),)
        return self._view(case, request, "critic_0", "judge", said)

    def criticised(
        self, case: int, request: str, answer: str, verdicts: Sequence[str]
    ) -> View:
        """Return what a learner is shown that is to revise its answer.

        Args:
            case: number of the case.
            request: that was answered.
            answer: its own first answer.
            verdicts: of one or two critics, in their order.
        """
        heard = [Turn(f"critic_{i}", verdict) for i, verdict in enumerate(verdicts)]
        said = (Turn("learner_0", answer), *heard)
        return self._view(case, request, "learner_0", "answer", said)

    def _view(
        self, case: int, request: str, seat: Seat, phase: Phase, said: tuple[Turn, ...]
    ) -> View:
        task = self.rules.source.parse(request, self.rules.split)
        if task is None:
            raise InvalidOption(
                f"{request!r} is no request of the split {self.rules.split!r}"
            )
        turns = (Turn("user", request), *said)
        brief = self.rules.view(State(task, "vanilla", phase, turns, task), seat)
        return view_of(brief, seat, case, turn=len(said), seed=mix(self._seed, case))
