"""What was done, in order, and what each step cost."""

from superalign_env.report.document import Document
from superalign_env.report.markup import Child, folded, table
from superalign_env.report.section import Section, badge, section
from superalign_env.report.sections.heading import duration, grouped, total
from superalign_env.store import Cost

_FIELDS = (
    ("episodes", "episodes"),
    ("utterances", "utterances"),
    ("tokens read", "prompt_tokens"),
    ("tokens written", "tokens"),
    ("labels of people", "labels"),
    ("other signals", "statements"),
)


def stages(document: Document) -> Section | None:
    """Return every stage with its cost; columns that hold nothing are left out."""
    if not document.stages:
        return None
    by_stage = {cost.stage: cost for cost in document.costs}
    fields = [(name, field) for name, field in _FIELDS if total(document, field)]
    seconds = document.seconds
    many = document.generations > 0
    rows: list[tuple[Child, ...]] = []
    for stage in document.stages:
        cost = by_stage.get(stage.id, Cost(stage.id))
        rows.append(
            (
                stage.id,
                *([str(stage.generation)] if many else []),
                str(stage.round),
                badge(stage.status),
                *(grouped(getattr(cost, field)) for _, field in fields),
                *([duration(seconds.get(stage.id, 0.0))] if seconds else []),
            )
        )
    summed: tuple[Child, ...] = (
        "all",
        *([""] if many else []),
        "",
        None,
        *(grouped(total(document, field)) for _, field in fields),
        *([duration(sum(seconds.values()))] if seconds else []),
    )
    heads = (
        "stage",
        *(["generation"] if many else []),
        "round",
        "status",
        *(name for name, _ in fields),
        *(["time"] if seconds else []),
    )
    made = table(heads, [*rows, summed], label="Stages and their cost", class_="numbers")
    return section("stages", "Stages and cost", "", folded(f"{len(rows)} stages", made))
