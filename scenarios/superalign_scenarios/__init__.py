"""Scenarios, task sources and renderers. The table below is the table of contents.

``from superalign_scenarios import red_team_v0`` gives the constructors of one scenario.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # PLUGINS must exist before superalign_env reads it
    from superalign_env.registry import Table

PLUGINS: "Table" = {
    "agent": {
        "simulated-persona": (
            "superalign_scenarios.microworld.persona:SimulatedPersona",
            "a simulated person of the microworld: a group's values, misread words",
        ),
    },
    "scenario": {
        "red-team-v0": (
            "superalign_scenarios.red_team:RedTeam",
            "attacker → learner → critics (→ refine): general-sum, with a benign arm",
        ),
        "exam-v0": (
            "superalign_scenarios.exam:Exam",
            "one seat answers one task; the truth grades it",
        ),
        "errand-v0": (
            "superalign_scenarios.errand:Errand",
            "four turns of one seat, paid at the end; the optimum of every case is known",
        ),
        "weak-to-strong-v0": (
            "superalign_scenarios.weak_to_strong:WeakToStrong",
            "supervisors label a task (critics may judge it), a student answers",
        ),
        "echo-v0": (
            "superalign_scenarios.echo:Echo",
            "two seats speak at once for a number of cycles; the smallest scenario",
        ),
    },
    "source": {
        "microworld": (
            "superalign_scenarios.microworld.source:MicroWorld",
            "the embedded world of short texts with exact truth",
        ),
        "rows": (
            "superalign_scenarios.row_source:RowSource",
            "rows of a CSV, JSON, JSONL or parquet file, gold column hidden",
        ),
    },
    "renderer": {
        "micro": (
            "superalign_scenarios.rendering:MicroRenderer",
            "role markers and words, as tiny models were pre-trained",
        ),
        "english": (
            "superalign_scenarios.english_rendering:EnglishRenderer",
            "instructions for chat models",
        ),
    },
}


def __getattr__(name: str) -> Any:
    """Make ``red_team_v0`` and its siblings by the table."""
    versioned = name.replace("_", "-")
    if versioned in PLUGINS["scenario"]:
        from superalign_env.envs import ScenarioModule  # noqa: PLC0415 - see above

        return ScenarioModule(versioned)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
