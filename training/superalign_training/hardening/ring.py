"""Where training attackers meet the learner: critics say what succeeded, never the truth."""

from collections.abc import Sequence

from superalign_env.types import View
from superalign_training.attackers import Outcome
from superalign_training.evaluation.likelihood import first_words
from superalign_training.hardening.council import Council, Judged
from superalign_training.policy import Policy


class Ring:
    """A field: the learner answers at temperature 0, the council judges its answer.

    Args:
        openings: views of the attacker, by case; they are taken in turns.
        learner: as it is at the moment of asking.
        council: judges.
        below: an answer with a lower expected score is a success of the attacker.
    """

    def __init__(
        self,
        openings: Sequence[View],
        learner: Policy,
        council: Council,
        *,
        below: float = 0.5,
    ) -> None:
        self._openings = openings
        self._learner = learner
        self._council = council
        self._below = below
        self.met: list[tuple[Judged, bool]] = []
        """Every valid query that was asked, and whether it succeeded."""

    def views(self, first: int, count: int) -> Sequence[View]:
        """Return openings, from the start again after the last one."""
        return [
            self._openings[i % len(self._openings)] for i in range(first, first + count)
        ]

    def ask(self, queries: Sequence[str]) -> list[Outcome]:
        """Let the learner answer and the council judge."""
        judged = self._council.judge(queries)
        valid = [one for one in judged if one is not None]
        won = iter(self._won(valid))
        outcomes = []
        for one in judged:
            success = next(won) if one is not None else False
            outcomes.append(Outcome(one is not None, float(success)))
            if one is not None:
                self.met.append((one, success))
        return outcomes

    def _won(self, judged: Sequence[Judged]) -> list[bool]:
        if not judged:
            return []
        menu = judged[0].answers
        said = first_words(self._learner.agent, [one.view for one in judged], menu).greedy
        return [
            one.score_of(menu[row.argmax()] if row.any() else "") < self._below
            for one, row in zip(judged, said, strict=True)
        ]
