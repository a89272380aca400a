"""What every stage cost: episodes, utterances, tokens, labels."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from superalign_env.store.run import Run


class Cost(NamedTuple):
    """What one stage used up."""

    stage: str
    """Empty for what belongs to no stage."""
    episodes: int = 0
    utterances: int = 0
    prompt_tokens: int = 0
    """Read by agents that record their tokens; others count as nothing."""
    tokens: int = 0
    """Written by them."""
    labels: int = 0
    """Answers of people to questions about episodes of this stage."""
    statements: int = 0
    """Other signals about them: verdicts and labels that nobody was asked for."""


_SPOKEN = """
SELECT coalesce(e.stage, ''), count(DISTINCT e.id), count(u.episode),
       total(length(u.prompt_ids)) / 4, total(length(u.token_ids)) / 4
FROM episodes e LEFT JOIN utterances u ON u.episode = e.id GROUP BY 1
"""
_SIGNALLED = """
SELECT coalesce(e.stage, ''), total(s.question <> ''), total(s.question = '')
FROM signals s LEFT JOIN episodes e ON e.id = s.episode GROUP BY 1
"""


def costs_by_stage(run: "Run") -> list[Cost]:
    """Return what each stage cost, in order; stages that cost nothing are left out."""
    found: dict[str, Cost] = {}
    for stage, *counted in run.database.rows(_SPOKEN):
        found[stage] = Cost(stage, *map(int, counted))
    for stage, labels, statements in run.database.rows(_SIGNALLED):
        known = found.get(stage, Cost(stage))
        found[stage] = known._replace(labels=int(labels), statements=int(statements))
    return [found[stage] for stage in sorted(found)]
