"""Pictures: the same data gives the same bytes, colours mean roles, nothing overlaps."""

import io
import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from superalign_env.figures import (
    Axis,
    Described,
    Dot,
    Grid,
    Line,
    Node,
    Panel,
    Reading,
    Rung,
    Spot,
    draw_forest,
    draw_grid,
    draw_lines,
    draw_plane,
    draw_sample,
    save,
)
from superalign_env.figures.palette import OPPOSED, RAMP, ROLE_OF, ROLES, SERIES, ramp
from superalign_env.figures.plane import spread
from superalign_env.figures.tree import layout
from tests.env.test_plain_text import hidden
from tests.hostile import HOSTILE

DRAWN = (
    "escape",
    "breaks",
    "long",
    "marks",
    "surrogates",
    "tags",
    "html",
    "svg",
    "markdown",
)

SAID = Described("name", "A title", "What it shows.")


def rung(number, capacity=None, accepted=True):
    spots = [
        Spot(Reading(risk, risk - 0.05, risk + 0.05), Reading(0.3 + 0.1 * number))
        for risk in (0.5, 0.1)
    ]
    return Rung(number, *spots, capacity, accepted, 0.1)


def lines(label="a line"):
    dots = tuple(Dot(float(n), 0.1 * n, 0.1 * n - 0.05, 0.1 * n + 0.05) for n in range(4))
    return (Line(label, dots), Line("other", dots, 1, "dashed", hollow=True))


TICKS = tuple((float(n), str(n)) for n in range(4))
PICTURES = {
    "lines": lambda: draw_lines(Panel("U", lines(), TICKS, "generation"), SAID),
    "grid": lambda: draw_grid(
        Grid(("a", "b"), ("c",), ((0.2,), (None,)), "down", "across"), SAID
    ),
    "plane": lambda: draw_plane(
        [rung(1, 0.5), rung(2, 0.7, accepted=False)], Axis("risk", "U", 0.35), SAID
    ),
    "forest": lambda: draw_forest(
        [Node("a", "", "A"), Node("b", "a", "B", state="accepted")], SAID
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_the_same_every_time_and_holds_no_style(name):
    drawn = PICTURES[name]()
    assert drawn == PICTURES[name]()
    assert drawn.startswith("<svg ") and drawn.endswith("</svg>")
    assert not re.search(r"style|script|xmlns|metadata|font-family|http|data:", drawn)
    assert "<title " in drawn and "A title" in drawn and "What it shows." in drawn


@pytest.mark.parametrize("name", PICTURES)
def test_every_colour_is_a_role_so_that_dark_pages_can_choose(name):
    drawn = PICTURES[name]()
    used = set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]{6})"', drawn))
    assert used and used <= set(ROLE_OF)
    for tag in re.findall(r"<(?:path|text|use|g)[^>]*#[0-9a-f]{6}[^>]*>", drawn):
        assert 'class="' in tag


def test_a_legend_shows_lines_as_they_are_drawn_and_needs_no_ids():
    solid, dashed = lines()
    drawn = draw_lines(Panel("U", (dashed,), TICKS, "round"), SAID)
    sample = draw_sample(dashed)
    assert sample == draw_sample(dashed._replace(label="called otherwise"))
    assert sample != draw_sample(solid)
    (dashes,) = set(re.findall(r'stroke-dasharray="[^"]+"', sample))
    assert dashes in drawn and 's-s1"' in sample and 'f-paper s-s1"' in sample
    assert 'aria-hidden="true"' in sample and not re.search(r" id=|href|#s|clip", sample)
    assert sample.count("<path ") == 4, "the ground, the line, no further line, one mark"


def test_a_pair_that_never_met_bears_a_dash():
    drawn = PICTURES["grid"]()
    assert drawn.count(">–<") == 1 and drawn.count(">.20<") == 1


def test_hostile_labels_are_text():
    said = "<b>$\\frac{1}{0}$\x1b[1m\u202e & _hidden"
    drawn = draw_lines(Panel(said, lines(said), TICKS, said), Described("n", said, said))
    assert "<b>" not in drawn and "\x1b" not in drawn and "\u202e" not in drawn
    assert "&lt;b&gt;$\\frac{1}{0}$" in drawn


@pytest.mark.parametrize("kind", DRAWN)
def test_hostile_labels_are_drawn_as_text(kind):
    text = HOSTILE[kind]
    drawn = [
        draw_lines(Panel(text, lines(text), ((0.0, text), (3.0, "3")), text), SAID),
        draw_grid(Grid((text,), (text,), ((0.2,),), text, text), SAID),
        draw_forest([Node("a", "", text, text, tip=text)], Described("name", text, text)),
    ]
    for picture in drawn:
        shown = [n.text for n in ElementTree.fromstring(picture).iter() if n.text]
        assert shown and hidden("".join(shown)) == []
        tags = {n.tag.rpartition("}")[2] for n in ElementTree.fromstring(picture).iter()}
        assert tags <= {"svg", "title", "desc", "g", "path", "text", "tspan", "defs", "use",
                        "clipPath", "rect"}  # fmt: skip


@pytest.mark.parametrize("kind", DRAWN)
def test_a_saved_picture_shows_hostile_text_whoever_drew_it(kind):
    text = HOSTILE[kind]
    figure, out = Figure(), io.BytesIO()
    axes = figure.add_subplot()
    axes.set(title=text, xlabel=text)
    axes.plot([0, 1], label=f"a{text}")
    axes.set_xticks([0, 1], [text, text])
    axes.legend()
    save(figure, out)
    root = ElementTree.fromstring(out.getvalue())
    assert hidden("".join(root.itertext())) == []


def test_a_tip_says_the_number_and_its_interval():
    dot = Dot(0.0, 0.5, 0.4, 0.6, "0.5 [0.4, 0.6], n 20")
    drawn = draw_lines(Panel("U", (Line("", (dot,)),), TICKS[:1], "round"), SAID)
    assert "<title>0.5 [0.4, 0.6], n 20</title>" in drawn


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="without rows"):
        draw_grid(Grid((), (), (), "", ""), SAID)
    with pytest.raises(ValueError, match="both axes"):
        draw_plane([Rung(1, None, None)], Axis("risk", "U"), SAID)
    with pytest.raises(ValueError, match="without agents"):
        draw_forest([], SAID)


def test_labels_are_moved_apart_and_no_further_than_needed():
    assert spread([0.1, 0.5, 0.9], 0.05) == [0.1, 0.5, 0.9]
    moved = spread([0.5, 0.5, 0.52, 0.9], 0.05)
    assert all(b - a >= 0.05 - 1e-12 for a, b in pairwise(sorted(moved)))
    assert moved[3] == 0.9
    assert sum(moved[:3]) == pytest.approx(0.5 + 0.5 + 0.52)
    assert spread([], 0.1) == []


def test_a_forest_has_a_place_for_everybody_even_in_a_circle():
    nodes = [
        Node("a", "", "a"),
        Node("b", "a", "b"),
        Node("c", "a", "c"),
        Node("d", "b", ""),
    ]
    assert layout(nodes) == {"a": (0, 0), "b": (1, 0), "d": (2, 0), "c": (1, 1)}
    circle = [Node("x", "y", ""), Node("y", "x", ""), Node("z", "z", "")]
    places = layout(circle)
    assert set(places) == {"x", "y", "z"} and len(set(places.values())) == 3


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_lines_can_be_read_on_both_pages(mode):
    def of(shade):
        return getattr(shade, mode)

    paper, ink = of(ROLES["paper"]), of(ROLES["ink"])
    for role in ("ink", "soft", "link", "band", "warn", "good"):
        assert contrast(of(ROLES[role]), paper) >= 4.5
    assert all(contrast(of(shade), paper) >= 3 for shade in SERIES)
    for step, shade in enumerate(RAMP):
        assert contrast(of(shade), paper if step >= 5 else ink) >= 4.5
    for step, shade in enumerate(OPPOSED):
        assert contrast(of(shade), paper if step in (0, 1, 7, 8) else ink) >= 4.5


DICHROMATS = {  # Machado, Oliveira and Fernandes 2009, severity 1, in linear RGB
    "protan": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deutan": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "most people": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
CONES = ((0.4122, 0.5363, 0.0514), (0.2119, 0.6807, 0.1074), (0.0883, 0.2817, 0.6300))
OKLAB = ((0.2105, 0.7936, -0.0041), (1.9780, -2.4286, 0.4506), (0.0259, 0.7828, -0.8087))


def as_seen(colour, eyes):
    """A colour in OKLab, where distances are what eyes of this kind can tell apart."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    for matrix, power in ((DICHROMATS[eyes], 1), (CONES, 1 / 3), (OKLAB, 1)):
        linear = [sum(m * c for m, c in zip(row, linear, strict=True)) for row in matrix]
        linear = [
            max(part, 0.0) ** power if matrix is not OKLAB else part for part in linear
        ]
    return linear


@pytest.mark.parametrize("eyes", DICHROMATS)
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_series_differ_for_colour_blind_eyes_too(mode, eyes):
    seen = [as_seen(getattr(shade, mode), eyes) for shade in SERIES]
    for (i, one), (j, other) in combinations(enumerate(seen), 2):
        distance = sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5
        assert distance > (0.1 if max(i, j) < 6 else 0.055), (i, j)


def test_roles_have_colours_of_their_own_and_steps_cover_the_range():
    assert len(ROLE_OF) == len(ROLES)
    assert [ramp(share) for share in (-1, 0, 0.5, 0.999, 1, 7)] == [0, 0, 4, 8, 8, 8]
