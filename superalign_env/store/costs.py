"""What every stage cost: episodes, utterances, tokens, labels."""

from typing import TYPE_CHECKING, NamedTuple

from superalign_env.store.lines import read

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
SELECT rowid, coalesce(stage, ''), said FROM episodes
WHERE rowid > ? ORDER BY rowid LIMIT 1024
"""
_SIGNALLED = """
SELECT coalesce(e.stage, ''), total(s.question <> ''), total(s.question = '')
FROM signals s LEFT JOIN episodes e ON e.id = s.episode GROUP BY 1
"""


def costs_by_stage(run: "Run") -> list[Cost]:
    """Return what each stage cost, in order; stages that cost nothing are left out."""
    found = _spoken(run)
    for stage, labels, statements in run.database.rows(_SIGNALLED):
        known = found.get(stage, Cost(stage))
        found[stage] = known._replace(labels=int(labels), statements=int(statements))
    return [found[stage] for stage in sorted(found)]


def _spoken(run: "Run") -> dict[str, Cost]:
    """Return what was said in each stage, some episodes in memory at a time."""
    totals: dict[str, list[int]] = {}
    last = -1 << 63
    while rows := run.database.rows(_SPOKEN, (last,)):
        for _, stage, said in rows:
            total = totals.setdefault(stage, [0, 0, 0, 0])
            total[0] += 1
            for line in read(said):
                total[1] += 1
                total[2] += line.prompt or 0
                total[3] += line.token or 0
        last = rows[-1][0]
    return {
        stage: Cost(stage, episodes, said, prompt // 4, token // 4)
        for stage, (episodes, said, prompt, token) in totals.items()
    }
