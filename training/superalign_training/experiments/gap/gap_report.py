"""Figures of the experiment on gaps: utilities, differences paired by seed, a picture."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from superalign_env.measures import Paired, holm_adjusted, mean, paired_difference
from superalign_training.experiments.engine.experiment import (
    ExperimentResult,
    Figure,
    Outcomes,
    ResultTable,
    column,
)
from superalign_training.experiments.gap.human_queries import FAMILIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

DIRECT = ("direct", "direct-repeated")
"""Jumps to the highest level: all labels at once, and the same level again and again."""
FIXED = ("fixed-small", "fixed-large", "linear", "reverse")
RULES = ("adaptive", "probing", "learned")
"""Controllers that are compared with them."""
_ALL = "mean"
"""The mean of the three families."""
_SURE = 0.05


def reduce(outcomes: Outcomes) -> ExperimentResult:
    """Return figures and tables of both kinds of queries."""
    figures: dict[str, Figure] = {}
    tables: list[ResultTable] = []
    sentences = []
    for mode, cells in {**outcomes, **_both(outcomes)}.items():
        chains = [name for name in next(iter(cells.values())) if name != "human"]
        figures |= _levels_reached(mode, cells, chains)
        tables.append(_chains_table(mode, cells, chains))
        for rule in (rule for rule in RULES if rule in chains):
            compared = {
                family: _compared(cells, rule, family, chains)
                for family in (*FAMILIES, _ALL)
            }
            for family, pairs in compared.items():
                figures |= _differences(mode, cells, rule, family, pairs)
            tables.append(_differences_table(mode, rule, compared))
            won = [f for f in FAMILIES if _beats_all(compared[f])]
            figures[_key("families_where", rule, "beats_direct_and_every_fixed", mode)] = (
                len(won)
            )
            sentences.append(
                f"{_named(mode)}: {rule} beats both jumps and every fixed schedule on "
                f"{len(won)} of {len(FAMILIES)} families."
            )
    figures |= _budgets(outcomes)
    return ExperimentResult(figures, tuple(tables), " ".join(sentences))


def _both(outcomes: Outcomes) -> dict[str, Any]:
    """Return each seed's chains in the mean over kinds of queries."""
    if len(outcomes) < 2:
        return {}
    kinds = list(outcomes.values())
    return {
        "both": {
            seed: {
                chain: {
                    **{
                        measure: {
                            family: _average(
                                [cells[seed][chain][measure][family] for cells in kinds]
                            )
                            for family in FAMILIES
                        }
                        for measure in ("utility", "imitation")
                    },
                    "conformity": _average(
                        [cells[seed][chain]["conformity"] for cells in kinds]
                    ),
                }
                for chain in kinds[0][seed]
                if chain != "human"
            }
            for seed in kinds[0]
        }
    }


def _average(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def utilities(cells: Any, chain: str, family: str) -> dict[int, float]:
    """Return seed → final utility of a chain in a family, or in the mean of all."""
    if family != _ALL:
        return column(cells, chain, "utility", family)
    return _mean_of(cells, chain, "utility")


def _mean_of(cells: Any, chain: str, measure: str) -> dict[int, float]:
    columns = [column(cells, chain, measure, family) for family in FAMILIES]
    return {
        seed: sum(by_seed[seed] for by_seed in columns) / len(columns)
        for seed in columns[0]
    }


def _levels_reached(mode: str, cells: Any, chains: list[str]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for chain in chains:
        for family in (*FAMILIES, _ALL):
            by_seed = utilities(cells, chain, family)
            figures[_key("utility", chain, family, mode)] = mean(list(by_seed.values()))
        imitated = _mean_of(cells, chain, "imitation")
        figures[_key("imitation", chain, mode)] = mean(list(imitated.values()))
        conforms = column(cells, chain, "conformity")
        figures[_key("conformity", chain, mode)] = mean(list(conforms.values()))
    return figures


def _compared(cells: Any, rule: str, family: str, chains: list[str]) -> dict[str, Any]:
    """Return comparator → (difference, p-value by Holm over the comparators)."""
    ours = utilities(cells, rule, family)
    pairs = {
        comparator: paired_difference(ours, utilities(cells, comparator, family))
        for comparator in (*DIRECT, *FIXED)
        if comparator in chains
    }
    adjusted = holm_adjusted({comparator: pair.p for comparator, pair in pairs.items()})
    return {comparator: (pair, adjusted[comparator]) for comparator, pair in pairs.items()}


def _beats_all(pairs: dict[str, tuple[Paired, float]]) -> bool:
    return all(pair.t.value > 0 and p < _SURE for pair, p in pairs.values())


def _differences(
    mode: str, cells: Any, rule: str, family: str, pairs: dict[str, tuple[Paired, float]]
) -> dict[str, Figure]:
    """Return the gain of a rule over the jumps and over the best fixed schedule."""
    schedules = [comparator for comparator in FIXED if comparator in pairs]
    best = max(
        schedules,
        key=lambda other: mean(list(utilities(cells, other, family).values())).value,
    )
    figures: dict[str, Figure] = {_key("best_fixed", family, mode): best}
    for comparator, name in (*((d, d) for d in DIRECT if d in pairs), (best, "best_fixed")):
        pair, holm = pairs[comparator]
        figures[_key(rule, "minus", name, family, mode)] = pair
        figures[_key(rule, "minus", name, family, mode, "holm")] = holm
    return figures


def _chains_table(mode: str, cells: Any, chains: list[str]) -> ResultTable:
    rows: list[tuple[Figure, ...]] = []
    for chain in chains:
        paths = Counter(
            " ".join(map(str, values[chain].get("levels", ()))) for values in cells.values()
        )
        (path, often), *_ = paths.most_common(1)
        rows.append(
            (
                chain,
                path if often == len(cells) else f"{path} ({often} of {len(cells)})",
                *(
                    mean(list(utilities(cells, chain, family).values()))
                    for family in (*FAMILIES, _ALL)
                ),
                mean(list(_mean_of(cells, chain, "imitation").values())),
                mean(list(column(cells, chain, "conformity").values())),
            )
        )
    head = ("chain", "levels", *(f"U {family}" for family in FAMILIES), "U mean")
    return ResultTable(
        f"{_named(mode)}: the last student", (*head, "imitation", "conformity"), rows
    )


def _differences_table(
    mode: str, rule: str, compared: dict[str, dict[str, tuple[Paired, float]]]
) -> ResultTable:
    rows = [
        (family, comparator, pair.t, pair.wins, pair.p, holm)
        for family, pairs in compared.items()
        for comparator, (pair, holm) in pairs.items()
    ]
    head = ("family", "against", "difference of U", "seeds won", "p", "p by Holm")
    return ResultTable(
        f"{_named(mode)}: {rule} minus the others, paired by seed", head, rows
    )


def _budgets(outcomes: Outcomes) -> dict[str, Figure]:
    """Return the labels, lessons and tokens of chains, and whether they are equal."""
    chains = [
        values
        for cells in outcomes.values()
        for by_chain in cells.values()
        for values in by_chain.values()
        if "labels" in values
    ]
    tokens = [values["tokens"] for values in chains]
    return {
        "labels": max(values["labels"] for values in chains),
        "equal_labels": len({values["labels"] for values in chains}) == 1,
        "equal_lessons": len({values["lessons"] for values in chains}) == 1,
        "most_tokens": max(tokens),
        "fewest_tokens": min(tokens),
        "seeds": len(next(iter(outcomes.values()))),
    }


def _named(mode: str) -> str:
    return "both kinds of queries" if mode == "both" else f"{mode} queries"


def _key(*parts: str) -> str:
    return "_".join(parts).replace("-", "_")


def picture(canvas: "Canvas", outcomes: Outcomes) -> None:
    """Draw mean utility and imitation of the last student, for every chain."""
    canvas.set_size_inches(9.0, 5.0)
    grid = canvas.subplots(2, len(outcomes), sharex="row", sharey=True, squeeze=False)
    for place, (mode, cells) in enumerate(outcomes.items()):
        chains = [name for name in next(iter(cells.values())) if name != "human"]
        for row, measure in enumerate(("utility", "imitation")):
            axes = grid[row][place]
            for height, chain in enumerate(reversed(chains)):
                estimate = mean(list(_mean_of(cells, chain, measure).values()))
                colour = "C1" if chain in RULES else "C0" if chain in FIXED else "0.4"
                if estimate.low is not None and estimate.high is not None:
                    axes.plot([estimate.low, estimate.high], [height, height], color=colour)
                axes.plot([estimate.value], [height], "o", color=colour, markersize=4)
            axes.set_yticks(range(len(chains)), list(reversed(chains)))
            axes.set_xlabel(f"{measure}, mean of three families ({mode} queries)")
