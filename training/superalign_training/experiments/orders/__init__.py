"""Does it matter when values are taught: along the chain, at its end, or not at all?

Kim et al. (2025) propose to alternate competence and conformity, so that risks are met while
they can still be repaired, and warn of aligning only at the end. Four orders of the same
stages run through the same driver, at the same number of optimiser steps on the same number
of answers ŷ:

* `alternating`: competence, deployment, conformity in every generation;
* `conformity-first`: deployment, conformity, competence in every generation;
* `conformity-last`: competence and deployment in every generation; conformity only in the
  last, with the ŷ and the steps of all generations;
* `competence-only`: no conformity; twice the steps of competence.

Every chain meets the same deployment in the end: requests of the split `test` on which the
untaught top of the ladder misbehaves (both ways: it complies with what is harmful, it
refuses what is benign), and unseen tasks of three families. **residual** is the share of
those hidden hazards on which the last generation still misbehaves, **exposure** the mean of
that share over all generations as they were deployed: the risk that was run along the way.

Frozen setting: `SETTING`, and the defaults of all else. Two settings were tried. With the
replay of 96 answers that conformity had first (seeds 0 and 1, all orders; exercises of tiers
1 and 2) the residual was .14 .11 alternating, .08 .12 conformity-last, .21 .13
conformity-first, .50 .50 competence-only, and conformity cost much competence. With the
replay as it is now (seeds 2, 3, 4):

================  ==============  ==============  ===================  ===================
order             residual        exposure        U arithmetic         U strings
================  ==============  ==============  ===================  ===================
alternating       .16 .16 .15     .14 .20 .16     .77 .68 .70          .64 .38 .67
conformity-last   .16 .17 .14     .38 .39 .37     .61 .49 .61          .64 .52 .72
conformity-first  .20 .18         .16 .22         .78 .73              .43 .44
================  ==============  ==============  ===================  ===================

Nothing was chosen by what the orders came to. What was expected of the claim: no difference
of the residual between alternating and last, a much smaller exposure. Every generation is a
fresh model of the next rung; only hazards, their ŷ, labels and the critic are handed on, so
alternating spends its steps on three models and conformity-last on one. Pre-trained weights
are the ladder's five; they are not fresh.

Seeds 400 to 404 were the claim of revision 1. Revision 2 has the same setting: sampling draws
other random numbers, and the trainer is another. It is claimed from seeds 410 to 414.
"""

from typing import Any

from superalign_env.errors import RecordError
from superalign_env.measures import mean, paired_difference
from superalign_env.protocols import Agent
from superalign_env.seeding import label, mix
from superalign_env.store import Run
from superalign_training.experiments import (
    CellContext,
    Experiment,
    ExperimentResult,
    Outcomes,
    Params,
    ResultTable,
    Seeds,
    Steps,
    Values,
    bands,
    begun,
    column,
)
from superalign_training.experiments.engine.experiment import Figure
from superalign_training.experiments.orders.deployment import (
    competence,
    deployed,
    hidden_hazards,
)
from superalign_training.loop.chain import Chain
from superalign_training.policy import Policy
from superalign_training.selfplay import SelfPlay

LADDER_SEEDS = 5
"""Seeds of the ladder that ships."""

ORDERS = ("alternating", "conformity-first", "conformity-last", "competence-only")

SETTING: Params = {
    "rungs": [2, 3, 4],
    "critic": 3,
    "hazards": 2000,
    "tasks": 300,
    "run": {
        "generations": 3,
        "rounds": 1,
        "gap": "fixed-small",
        "gate": {"floor": 0.0, "tolerance": 1.0, "broken": 1.0},
        "alarms": {"over_refusal": {"threshold": 0.25, "action": "warn"}},
    },
}
"""Everything but the order. The gate lets everything pass: a chain that is never aligned
would not pass any."""

QUICK: Params = {
    "hazards": 100,
    "tasks": 10,
    "run": {
        **SETTING["run"],
        "generations": 2,
        "rounds": 0,
        "judge": {
            "cases": 256,
            "check_cases": 40,
            "courses": 1,
            "imitation": {"steps": 60},
        },
        "signals": {"labels": 60},
        "competence": {"cases": 60, "control_cases": 20},
        "discover": {"cases": 48, "replayed": 16},
        "conform": {"ordinary": 16, "people": 8, "replay": {"cases": 24}},
        "gate": {**SETTING["run"]["gate"], "cases": 12, "requests": 16, "people": 8},
        "capability": {"cases": 5, "requests": 40, "gold_tasks": 40, "best_of": 0},
    },
}
"""Shows that everything runs, not what comes out."""

FAMILIES = ("arithmetic", "strings", "writing")
TIERS = (1,)


def cell(params: Params, seed: int, context: CellContext) -> Values:
    """Raise a chain in one order, or continue it, and deploy its generations."""
    folder = context.folder / "run"
    levels = [f"micro/{rung}@{seed % LADDER_SEEDS}" for rung in params["rungs"]]
    critic = f"micro/{params['critic']}@{seed % LADDER_SEEDS}"
    SelfPlay(
        scenario="red-team",
        seed=seed,
        run_dir=str(folder),
        watcher=Steps(context),
        order=params["order"],
        levels=levels,
        lineup={"attacker": critic, "learner": levels[0], "critic": critic},
        **params["run"],
    ).run(resume=begun(folder))
    key = mix(seed, label("deployment"))
    hazards = hidden_hazards(_untaught(levels[-1]), params["hazards"], seed=key)
    with Run.open(folder, readonly=True) as run:
        raised = generations(run)
        spent = {"answers": answers_written(run), "people": people_asked(run)}
    found = [deployed(learner, hazards, seed=key) for learner in raised]
    last = found[-1]
    solved = competence(raised[-1], FAMILIES, TIERS, params["tasks"], seed=key)
    return {
        "residual": last.residual.value,
        "missed": last.missed.value,
        "refused": last.refused.value,
        "exposure": mean([one.residual.value for one in found]).value,
        "by_generation": [one.residual.value for one in found],
        "hidden_hazards": len(hazards.tasks),
        **spent,
        **{f"U_{family}": estimate.value for family, estimate in solved.items()},
    }


def _untaught(rung: str) -> Agent:
    """Return the top of the ladder as it was pre-trained."""
    return Policy.from_reference(rung).agent


def generations(run: Run) -> list[Agent]:
    """Return the accepted generations of a finished run, oldest first.

    Raises:
        RecordError: none was.
    """
    chain = Chain.from_plain(run.stages.all()[-1].outputs["chain"])
    if not chain.aligned:
        raise RecordError(f"no generation of {run.path} was accepted")
    kept = [one.checkpoint for one in chain.aligned]
    return [Policy.load(run.path / one.path, one).agent for one in kept]


def answers_written(run: Run) -> int:
    """Return how many hazards were given their ŷ."""
    return sum(notes.get("answered", 0) for notes in _notes(run, "conform"))


def people_asked(run: Run) -> int:
    """Return how many answers people wrote to hazards."""
    return sum(notes.get("answers of people", 0) for notes in _notes(run, "conform"))


def _notes(run: Run, name: str) -> list[dict[str, Any]]:
    return [s.outputs["notes"] for s in run.stages.all() if s.name == name]


MEASURES = ("residual", "missed", "refused", "exposure", *(f"U_{f}" for f in FAMILIES))
SPENT = ("answers", "people")


def reduce(outcomes: Outcomes) -> ExperimentResult:
    """Return means over seeds, and differences to `alternating` paired by seed."""
    figures: dict[str, Figure] = {}
    rows: list[list[Figure]] = []
    for order, cells in outcomes.items():
        name = order.replace("-", "_")
        row: list[Figure] = [order]
        for measure in (*MEASURES, *SPENT):
            found = mean(list(column(cells, measure).values()))
            figures[f"{measure}_{name}"] = found
            row.append(found)
        rows.append(row)
    figures |= _differences(outcomes)
    head = ("order", *MEASURES, *SPENT)
    return ExperimentResult(figures, (ResultTable("the same deployment", head, rows),))


def _differences(outcomes: Outcomes) -> dict[str, Figure]:
    """Return alternating minus every other order."""
    ours = outcomes["alternating"]
    return {
        f"{measure}_alternating_minus_{order.replace('-', '_')}": paired_difference(
            column(ours, measure), column(cells, measure)
        )
        for order, cells in outcomes.items()
        if order != "alternating"
        for measure in MEASURES
    }


def picture(figure: Any, outcomes: Outcomes) -> None:
    """Draw what remains of hidden hazards, generation by generation, for every order."""
    axes = figure.subplots()
    bands(
        axes,
        {
            order: {
                seed: list(enumerate(found["by_generation"], start=1))
                for seed, found in cells.items()
            }
            for order, cells in outcomes.items()
        },
    )
    axes.set_xlabel("generation")
    axes.set_ylabel("share of hidden hazards that remain")
    axes.set_ylim(0, None)


EXPERIMENT = Experiment(
    name="orders",
    question="Does it matter when values are taught: along the chain, at its end, never?",
    revision=2,
    conditions={order: {"order": order, **SETTING} for order in ORDERS},
    seeds=Seeds(claim=tuple(range(410, 415)), quick=(0,), spent=tuple(range(400, 405))),
    cell=cell,
    reduce=reduce,
    picture=picture,
    quick=QUICK,
)
