"""Settings of runs of a few seconds."""

BRIEF = {
    **{"cases": 10, "attack_cases": 4, "fresh_queries": 6, "fresh_waves": 2},
    "family_cases": 0,
}
"""An evaluation of a second."""

FEW = {"steps": 2, "batch_size": 4}

CHAIN = {
    "generations": 2,
    "levels": ["micro/0", "micro/0@1"],
    "gap": "fixed-small",
    "train": {"learner": {"steps": 4, "batch_size": 4, "num_generations": 2}},
    "signals": {"labels": 24, "models": ["micro/0@1"]},
    "competence": {"cases": 24, "control_cases": 8, "algorithm": {"steps": 2}},
    "discover": {
        "cases": 24,
        "archive_updates": 2,
        "max_hazards": 8,
        "score_threshold": 0.9,
    },
    "conform": {
        "max_hazards": 8,
        "ordinary_cases": 12,
        "written_answers": 6,
        "algorithm": {"steps": 2},
        "replay": {"cases": 12, "imitation": {"steps": 2, "batch_size": 8}},
    },
    "gate": {
        "cases": 8,
        "request_cases": 12,
        "request_labels": 4,
        "disagreement_labels": 4,
        "deployment_cases": 12,
    },
    "capability": {
        "cases": 4,
        "requests": 10,
        "gold_tasks": 16,
        "ceiling": {"steps": 2},
        "best_of": 2,
        "test_factor": 1,
    },
}
"""What makes a small run a chain of two generations."""


ROLES = ("attacker", "learner", "critic")


def small_run(model, *, lineup=None, train=None, **more):
    """Settings of a self-play run of a few seconds, in which every stage does something.

    Of lineup and algorithms single roles are changed, everything else is replaced.
    """
    taught = {
        "attacker": FEW,
        "learner": {"steps": 2, "batch_size": 3, "num_generations": 2},
        "critic": FEW,
    }
    return {
        "lineup": {**dict.fromkeys(ROLES, str(model)), **(lineup or {})},
        "train": {**taught, **(train or {})},
        "rounds": 1,
        "budget": 0.3,
        "judge": {
            "cases": 8,
            "check_cases": 6,
            "single_answer_steps": 1,
            "temperature": 1.0,
            "max_fits": 1,
            "imitation": FEW,
        },
        "attack": {"cases": 12, "archive_updates": 2, "min_distinct": 0.0},
        "options": {"vanilla": 0.7},
        "calibrate": {"cases": 6},
        "evaluate": {
            "cases": 10,
            "attack_cases": 4,
            "fresh_queries": 6,
            "fresh_waves": 2,
            "families": ["arithmetic"],
            "family_cases": 3,
        },
        **more,
    }


def all_earn(model, run_dir, **more):
    """Settings of two rounds in which every role is paid, by an algorithm of its own."""
    train = {
        "attacker": [
            {"id": "sft", **FEW},
            {"id": "reinforce", "steps": 3, "batch_size": 4},
        ],
        "learner": {"id": "ppo", "steps": 2, "batch_size": 24},
        "critic": [
            {"id": "sft", "learning_rate": 5e-4, **FEW},
            {"id": "rloo", "steps": 2, "batch_size": 3},
        ],
    }
    paid = small_run(model, run_dir=run_dir, train=train, rounds=2, evaluate=BRIEF)
    paid["judge"] |= {"single_answer_steps": 0}
    paid["attack"] |= {"cases": 8, "min_valid": 0.0}
    del paid["options"]
    return {**paid, **more}
