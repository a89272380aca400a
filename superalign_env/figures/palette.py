"""Colour roles, for light and for dark pages.

A picture is drawn in the light colours; each is used by one role only, so that the
finished drawing can say roles instead of colours and the page decides. Series were chosen
to differ for colour-blind eyes too, in lightness where not in hue; every series also has
its own mark, because colour alone is not read by everybody.
"""

from typing import NamedTuple


class Shade(NamedTuple):
    """One role's colour on a light and on a dark page."""

    light: str
    dark: str


SERIES = (
    Shade("#1a73e8", "#3b8cff"),  # blue
    Shade("#8a3a0c", "#dd6427"),  # rust
    Shade("#08a386", "#82cf96"),  # green
    Shade("#661591", "#ecd2ff"),  # purple
    Shade("#967000", "#fdde36"),  # ochre
    Shade("#2d7488", "#60a0bc"),  # petrol
    Shade("#ea5a58", "#ffc9c3"),  # coral
    Shade("#4b4f5b", "#8b8b8b"),  # slate
)
"""Lines, arrows, runs: the same index means the same thing all over a page."""

RAMP = (
    Shade("#f3f7fb", "#1a2430"),
    Shade("#dbe8f4", "#1d3247"),
    Shade("#bfd8ec", "#20405f"),
    Shade("#9cc4e1", "#245078"),
    Shade("#72abd3", "#2f6797"),
    Shade("#3578ae", "#4f8ec3"),
    Shade("#23659e", "#6ba5d6"),
    Shade("#134e87", "#8abce6"),
    Shade("#0a3769", "#b5d8f7"),
)
"""Little to much."""

OPPOSED = (
    Shade("#8f3404", "#ffb184"),
    Shade("#b5540f", "#e08a4d"),
    Shade("#e79a62", "#955022"),
    Shade("#f6cfaf", "#5c3a24"),
    Shade("#f4f4f1", "#22262c"),
    Shade("#c3dcef", "#24405a"),
    Shade("#86b7dc", "#2f6596"),
    Shade("#2f73ae", "#62a2d8"),
    Shade("#0f4b87", "#a3d0f6"),
)
"""Below zero, about zero, above zero."""

ROLES: dict[str, Shade] = {
    "ink": Shade("#1b1f24", "#e8eaed"),
    "soft": Shade("#5f6670", "#a3abb6"),
    "rule": Shade("#d3d7dc", "#3c434c"),
    "link": Shade("#0b57b8", "#86b9ff"),
    "band": Shade("#2470b3", "#5aa6e6"),
    "paper": Shade("#ffffff", "#14171b"),
    "warn": Shade("#b3261e", "#ff8a80"),
    "good": Shade("#1c6e3c", "#7dd39b"),
    **{f"s{number}": shade for number, shade in enumerate(SERIES)},
    **{f"r{number}": shade for number, shade in enumerate(RAMP)},
    **{f"o{number}": shade for number, shade in enumerate(OPPOSED)},
}
"""Role → shade. ``s``, ``r``, ``o`` and a number: series, ramp, opposed."""

ROLE_OF = {shade.light: role for role, shade in ROLES.items()}
"""Light colour → its role."""


def light(role: str) -> str:
    """Return the colour that a picture is drawn with."""
    return ROLES[role].light


def series(number: int) -> str:
    """Return the role of the n-th series; after the last they begin anew."""
    return f"s{number % len(SERIES)}"


def ramp(share: float) -> int:
    """Return the step of `RAMP` or `OPPOSED` for a place in [0, 1], clipped."""
    return min(max(int(share * len(RAMP)), 0), len(RAMP) - 1)


def variables(dark: bool = False) -> str:
    """Return the declarations that a style sheet opens with."""
    return "".join(
        f"--{role}:{shade.dark if dark else shade.light};" for role, shade in ROLES.items()
    )


def classes() -> str:
    """Return the rules that colour a drawing: ``.f-ROLE`` fills, ``.s-ROLE`` strokes."""
    return "".join(
        f".f-{role}{{fill:var(--{role})}}.s-{role}{{stroke:var(--{role})}}"
        for role in ROLES
    )
