"""Self-consistency: ask an agent n times and say what it says most often.

More thinking at the same weights, hence a level of capability that costs no training
(Wang et al. 2022, arXiv 2203.11171).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from superalign_agents.references import make_agent
from superalign_env.asking import waits
from superalign_env.errors import InvalidOption
from superalign_env.protocols import Agent
from superalign_env.seeding import label, mix
from superalign_env.types import AgentSpec, Reply, Usage, View

_SAMPLE = label("best-of")


class BestOf:
    """Says the most frequent of n answers; of equally frequent ones the first.

    Answer k is drawn with a seed that the view's own seed gives, so that a transcript
    does not depend on the rest of the batch. Answers that failed count only where all
    did. What was used up by all of them is recorded with the one that is said.

    Args:
        agent: who is asked: a reference or an agent that samples.
        n: how often.

    Raises:
        UnknownId: nobody is called so.
        InvalidOption: fewer than one answer, an agent that waits for each reply, or a
            greedy one, whose answers would all be the same.
    """

    def __init__(self, agent: str | Mapping[str, Any] | Agent, n: int = 5) -> None:
        if type(n) is not int or n < 1:
            raise InvalidOption(
                f"best-of needs a whole number of answers from 1, not {n!r}"
            )
        made = make_agent(agent)
        if waits(made) or not isinstance(made, Agent):
            raise InvalidOption(
                f"best-of asks whole batches, and {made.spec.id} waits for each reply; put "
                "an agent with weights of its own behind it"
            )
        if n > 1 and getattr(made, "temperature", None) == 0:
            raise InvalidOption(
                f"{made.spec.id} is greedy and says {n} times the same; give it a "
                "temperature above 0, or leave best_of out"
            )
        self._agent, self._n = made, n

    @property
    def spec(self) -> AgentSpec:
        """The agent behind it, and how often it is asked."""
        inner = self._agent.spec
        options = {"agent": {"id": inner.id, **inner.options}, "n": self._n}
        return AgentSpec("best-of", options, inner.policy)

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return one reply per view, in order."""
        asked = [
            replace(view, seed=mix(view.seed, _SAMPLE, k))
            for view in views
            for k in range(self._n)
        ]
        said = self._agent.act(asked)
        return [
            _favourite(said[start : start + self._n])
            for start in range(0, len(asked), self._n)
        ]


def _favourite(replies: Sequence[Reply]) -> Reply:
    """Return the reply whose text is the most frequent, with what all of them used."""
    able = [reply for reply in replies if not reply.error] or list(replies)
    (text, _), *_ = Counter(reply.text for reply in able).most_common()
    chosen = next(reply for reply in able if reply.text == text)
    used = [reply.usage for reply in replies if reply.usage is not None]
    if not used:
        return chosen
    total = Usage(
        sum(one.prompt_tokens for one in used),
        sum(one.completion_tokens for one in used),
        sum(one.dollars for one in used),
    )
    return replace(chosen, usage=total)
