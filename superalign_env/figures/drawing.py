"""Matplotlib figures as SVG for embedding in a page.

The same figure gives the same bytes. What comes out has no script, no style and nothing
from outside: classes in place of colours, the page's own font, a title and a description
for those who do not see it.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter

from superalign_env.figures.palette import ROLE_OF, light
from superalign_env.plain_text import cut, one_line, visible

_KEPT = frozenset(
    {
        *("d", "x", "y", "cx", "cy", "r", "width", "height", "transform", "viewBox"),
        *("clip-path", "clip-rule", "fill", "fill-opacity", "fill-rule", "opacity"),
        *("stroke", "stroke-opacity", "stroke-width", "stroke-dasharray"),
        *("stroke-linecap", "stroke-linejoin"),
        *("text-anchor", "font-size", "font-style", "font-weight"),
    }
)
"""Attributes that a drawing needs; no other one reaches a page."""

_SETTINGS: dict[Any, Any] = {  # matplotlib types each key as a literal
    "svg.hashsalt": "superalign",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.edgecolor": light("rule"),
    "axes.labelcolor": light("soft"),
    "axes.titlecolor": light("ink"),
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": light("rule"),
    "grid.linewidth": 0.6,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.labelcolor": light("ink"),
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.7,
    "text.color": light("ink"),
    "xtick.color": light("rule"),
    "ytick.color": light("rule"),
    "xtick.labelcolor": light("soft"),
    "ytick.labelcolor": light("soft"),
}
_HREF = "{http://www.w3.org/1999/xlink}href"
_LONGEST = 500
"""Characters of one text in a picture."""
_PIXELS = 96
"""Of a page, for an inch."""
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)px")


class Described(NamedTuple):
    """Accessible name and description of a picture."""

    name: str
    """Unique on its page; letters, digits and dashes."""
    title: str
    text: str


class Tips:
    """Tooltips of marks."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, artist: Artist, text: str) -> None:
        """Add a tooltip to an artist."""
        name = f"tip-{len(self.texts)}"
        artist.set_gid(name)
        self.texts[name] = label(text, 160)


@contextmanager
def sheet(width: float, height: float, *, fitted: bool = True) -> Iterator[Figure]:
    """Yield an empty figure in the house's style.

    Args:
        width: in inches.
        height: in inches.
        fitted: whether axes make room for their labels; otherwise they lie where they are put.
    """
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height))
        if fitted:
            figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.05)
        yield figure


def label(text: str, limit: int = 28) -> str:
    """Return hostile text as a short, harmless label."""
    return one_line(text, limit)


def save(figure: Figure, target: Any, *, format: str = "svg", **options: Any) -> None:
    """Write a figure; hidden characters of its texts are shown, and none is mathematics.

    Args:
        figure: as drawn.
        target: a file or a buffer.
        format: svg or png.
        **options: of matplotlib's ``savefig``.
    """
    for artist in figure.findobj(Text):
        artist.set_text(_harmless(artist.get_text()))
        artist.set_parse_math(False)
    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
        names = axis.get_major_formatter()
        if isinstance(names, (FixedFormatter, FuncFormatter)):  # others write numbers
            axis.set_major_formatter(FuncFormatter(partial(_named, names)))
    with warnings.catch_warnings():
        # A box stands for the glyph, and the page's font may have it.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")
        # Long labels leave no room in a small picture, which is drawn without a layout.
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        figure.savefig(target, format=format, **options)


def _named(names: Formatter, value: float, place: int | None) -> str:
    """Return the name at a tick, harmless; it is written anew at every drawing."""
    return _harmless(names(value, place))


def _harmless(text: str) -> str:
    return visible(cut(text, _LONGEST))


def svg(figure: Figure, described: Described, tips: Tips | None = None) -> str:
    """Return the figure as one ``<svg>`` element, to be called within `sheet`."""
    root = _drawn(figure, described.name, {} if tips is None else tips.texts)
    root.attrib.pop("height", None)  # it follows from the width
    root.set("role", "img")
    root.set("aria-labelledby", f"{described.name}-title")
    root.set("aria-describedby", f"{described.name}-text")
    for place, (tag, text) in enumerate(
        (("title", described.title), ("desc", described.text))
    ):
        label_element = ElementTree.Element(tag, {"id": f"{described.name}-{_PART[tag]}"})
        label_element.text = label(text, 2000)
        root.insert(place, label_element)
    return ElementTree.tostring(root, encoding="unicode")


_PART = {"title": "title", "desc": "text"}


def decoration(figure: Figure) -> str:
    """Return a small drawing that says nothing by itself, to be called within `sheet`."""
    root = _drawn(figure, "", {})
    root.set("height", f"{figure.get_figheight() * _PIXELS:.0f}")
    root.set("aria-hidden", "true")
    return ElementTree.tostring(root, encoding="unicode")


def _drawn(figure: Figure, name: str, tips: Mapping[str, str]) -> ElementTree.Element:
    """Return the figure, cleaned; a drawing without a name keeps no ids."""
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    save(figure, buffer, metadata=nothing)
    root = ElementTree.fromstring(buffer.getvalue())  # what was just drawn, nobody else's
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    _drop(root, {"metadata", "style"})
    if not name:
        _inline(root)
    _rename(root, name, tips)
    for element in root.iter():
        _clean(element)
        element.tail = None
        element.text = (element.text or "").strip() or None
    root.set("width", f"{figure.get_figwidth() * _PIXELS:.0f}")
    root.set("stroke-linejoin", "round")
    return root


def _inline(root: ElementTree.Element) -> None:
    """Put every mark where it is used, so that no id is needed."""
    marks = {path.get("id"): path for path in root.iter("path")}
    for used in root.iter("use"):
        place = f"translate({used.attrib.pop('x')} {used.attrib.pop('y')})"
        used.tag = "path"
        used.set("d", marks[used.attrib.pop(_HREF)[1:]].get("d", ""))
        used.set("transform", place)
    _drop(root, {"defs"})


def _drop(element: ElementTree.Element, tags: set[str]) -> None:
    for child in list(element):
        if child.tag in tags:
            element.remove(child)
        else:
            _drop(child, tags)
            if child.tag == "defs" and not len(child):
                element.remove(child)


def _rename(root: ElementTree.Element, name: str, tips: Mapping[str, str]) -> None:
    """Keep only the ids that something points at, and turn tips into titles."""
    used = {
        reference
        for element in root.iter()
        for value in element.attrib.values()
        for reference in re.findall(r"(?:^|url\()#([\w.-]+)", value)
    }
    renamed: dict[str, str] = {}
    for element in root.iter():
        former = element.attrib.pop("id", "")
        if former in tips:
            title = ElementTree.Element("title")
            title.text = tips[former]
            element.insert(0, title)
        if former in used:
            renamed[former] = f"{name}-{len(renamed)}"
            element.set("id", renamed[former])
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(
                key, re.sub(r"#([\w.-]+)", lambda m: f"#{renamed.get(m[1], m[1])}", value)
            )


def _clean(element: ElementTree.Element) -> None:
    """Turn styles into attributes and colours into classes; drop everything unknown."""
    attributes = dict(element.attrib)
    element.attrib.clear()
    styles = [part.split(":", 1) for part in attributes.pop("style", "").split(";") if part]
    attributes |= {key.strip(): value.strip() for key, value in styles}
    if "font" in attributes and (size := _SIZE.search(attributes["font"])):
        attributes["font-size"] = f"{size[1]}px"
        if "bold" in attributes["font"] or re.search(r"\b700\b", attributes["font"]):
            attributes["font-weight"] = "bold"
    reference = attributes.get(_HREF, "")
    if reference.startswith("#"):
        element.set("href", reference)
    if "id" in attributes:
        element.set("id", attributes["id"])
    roles = []
    for key in sorted(_KEPT & attributes.keys()):
        value = _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}", attributes[key])
        element.set(key, " ".join(value.split()))
        if key in ("fill", "stroke") and value in ROLE_OF:
            roles.append(f"{key[0]}-{ROLE_OF[value]}")
    if roles:
        element.set("class", " ".join(roles))
