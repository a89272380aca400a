"""A level of the capability ladder: weights and decoding."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from superalign_agents.wrappers import BestOf
from superalign_env.errors import InvalidOption
from superalign_env.protocols import Agent

LevelReference = str | Mapping[str, Any]
"""An agent reference that may also say ``best_of``."""


class Level(NamedTuple):
    """One level of the ladder, read from a reference.

    ================== ==================================================================
    what is raised     how it is written
    ================== ==================================================================
    model size         ``micro/1``, ``micro/2``, …
    pre-training       ``micro-snapshots/0``, … (``superalign ladder build --snapshots``)
    LoRA rank          ``{id: micro/3, adapter: {rank: 2}}``
    tries              ``{id: micro/3, best_of: 5}``: the most frequent of five answers
    context            ``{id: micro/3, max_context: 32}``
    information        ``{id: micro/3, blind: [secretly, licensed]}``
    ================== ==================================================================

    Any of them may be combined. All but ``best_of`` are options of the agent whose weights
    are trained, in training as in speaking; best-of-n changes only how it speaks when it
    is deployed or asked to supervise.
    """

    reference: dict[str, Any]
    """Of the agent whose weights are trained: its id and options."""
    best_of: int = 1
    """Samples of which the most frequent answer is taken."""

    @classmethod
    def of(cls, reference: LevelReference) -> Self:
        """Read a level.

        Raises:
            InvalidOption: a mapping without an id, or a number of tries that is none.
        """
        options = {"id": reference} if isinstance(reference, str) else dict(reference)
        if not isinstance(options.get("id"), str):
            raise InvalidOption(
                f"a level needs the id of an agent with weights, as in {{id: micro/3, "
                f"best_of: 5}}; got {options!r}"
            )
        best_of = options.pop("best_of", 1)
        if type(best_of) is not int or best_of < 1:
            raise InvalidOption(
                f"best_of={best_of!r} of the level {options['id']} must be a whole number "
                "from 1"
            )
        if best_of > 1 and options.get("temperature") == 0:
            raise InvalidOption(
                f"the level {options['id']} is greedy and says {best_of} times the same; give "
                "it a temperature above 0, or leave best_of out"
            )
        return cls(options, best_of)


def with_level_decoding(agent: Agent, level: Level) -> Agent:
    """Return an agent of trained weights with the best-of-n of its level.

    Args:
        agent: of the policy; `level` says nothing about its weights any more.
        level: what the policy began as.

    Raises:
        InvalidOption: several tries of a greedy agent.
    """
    return agent if level.best_of == 1 else BestOf(agent, level.best_of)
