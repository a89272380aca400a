"""Pictures of experiments: figures with their intervals, curves with bands over seeds.

Drawn without pyplot and without a clock: the same numbers give the same bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superalign_env.errors import InvalidOption
from superalign_env.measures import Estimate, Paired, Ratio, mean
from superalign_training.experiments.engine.results import Figure as Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = Sequence[Sequence[float]]
"""Points (x, y), x rising."""

_STYLE: dict[Any, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9.0,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "superalign",
    "text.parse_math": False,
}


def bands(axes: "Axes", curves: Mapping[str, Mapping[int, Curve]]) -> None:
    """Draw for each condition its mean curve and the 95 % interval over two seeds or more.

    Args:
        axes: where to.
        curves: condition → seed → points; all seeds of a condition have the same x.

    Raises:
        InvalidOption: seeds of a condition with different x.
    """
    for place, (condition, by_seed) in enumerate(curves.items()):
        xs = {tuple(point[0] for point in curve) for curve in by_seed.values()}
        if len(xs) != 1:
            raise InvalidOption(
                f"the seeds of {condition} have points at different x; measure each curve "
                "at the same places"
            )
        (x,) = xs
        columns = zip(*[[point[1] for point in c] for c in by_seed.values()], strict=True)
        found = [mean(values) for values in columns]
        colour = f"C{place}"
        axes.plot(x, [e.value for e in found], color=colour, label=condition)
        if len(by_seed) > 1:
            low, high = [e.least for e in found], [e.most for e in found]
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.legend()


def forest(figure: "Figure", figures: Mapping[str, Number]) -> None:
    """Draw every estimate into a figure of the right height."""
    shown = sum(_estimate(number) is not None for number in figures.values())
    figure.set_size_inches(6.4, 0.9 + 0.28 * shown)
    estimates(figure.subplots(), figures)


def estimates(axes: "Axes", figures: Mapping[str, Number]) -> None:
    """Draw every estimate: a dot and, where it has an interval, a line each."""
    found = {
        name: estimate
        for name, number in figures.items()
        if (estimate := _estimate(number)) is not None
    }
    places = range(len(found), 0, -1)
    for place, estimate in zip(places, found.values(), strict=True):
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [place, place], color="C0")
        axes.plot([estimate.value], [place], "o", color="C0")
    axes.axvline(0.0, color="0.8", linewidth=0.8, zorder=0)
    axes.set_yticks(list(places), list(found))
    axes.set_ylim(0.4, len(found) + 0.6)


def write_svg(
    path: Path, draw: Callable[["Figure"], object], *, title: str, remark: str = ""
) -> None:
    """Draw a picture into a file.

    Args:
        path: of the SVG file.
        draw: fills an empty figure.
        title: above the picture.
        remark: below it, to be read with it: whether it is a claim.
    """
    # Half a second of import, paid once the numbers are there.
    import matplotlib  # noqa: PLC0415 - see above
    from matplotlib.figure import Figure  # noqa: PLC0415 - see above

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever style a person has chosen
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        draw(figure)
        figure.suptitle(title)
        if remark:
            figure.supxlabel(remark, fontsize="small", color="0.4")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _estimate(number: Number) -> Estimate | None:
    """Return what a figure shows of its interval; None when it has none."""
    if isinstance(number, Paired):
        return number.t
    if isinstance(number, Ratio):
        return number.estimate
    return number if isinstance(number, Estimate) else None
