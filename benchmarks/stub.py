"""An agent that stands in for a transformer and takes next to no time.

Every reply carries 24 prompt ids, 8 token ids and 8 log-probabilities.
"""

from collections.abc import Sequence

from superalign_env.types import AgentSpec, Reply, View

_TEXTS = {"learner": "comply", "critic": "score 7 sure 4"}
_PROMPT = tuple(range(24))
_TOKENS = tuple(range(100, 108))
_LOGPROBS = tuple([-0.125 * i for i in range(8)])


class Stub:
    """Answers at once, with as many numbers as a small transformer would bring."""

    spec = AgentSpec("stub")

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Pass the seed request on, comply, and approve."""
        return [
            Reply(
                _TEXTS.get(view.role) or view.turns[0].text,
                prompt_ids=_PROMPT,
                token_ids=_TOKENS,
                logprobs=_LOGPROBS,
                finish="stop",
                policy="0" * 32,
            )
            for view in views
        ]
