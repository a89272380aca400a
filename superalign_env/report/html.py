"""Pages as HTML that escapes by default: elements, tables, sections, the template of a page.

Whatever comes from a record is hostile. It reaches a page only as a child or as the value
of an attribute, and both are escaped; there is no way to write a script, a style or a link
that leaves the page. A page is one file: no script, nothing from outside, light and dark, for
print too.
"""

import base64
import hashlib
import shlex
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

from superalign_env.figures import palette
from superalign_env.plain_text import cut, fence, html_text
from superalign_env.report import names

_VOID = frozenset({"br", "hr", "meta"})
_ATTRIBUTES = frozenset(
    {
        *("aria_label", "role", "scope", "tabindex", "title", "lang", "open"),
        *("class_", "href", "id", "charset", "content", "http_equiv", "name"),
    }
)


class Markup(NamedTuple):
    """HTML made by this module, not escaped again."""

    html: str


Child = Markup | str | None
"""Text, markup, or nothing."""


def element(tag: str, *children: Child, **attributes: str | bool | None) -> Markup:
    """Return one element.

    Args:
        tag: written by us, never by a record.
        *children: strings are escaped; None is left out.
        **attributes: ``class_`` stands for ``class``; None and False are left out.

    Raises:
        ValueError: an attribute that pages of ours do not have, or a link that leaves them.
    """
    unknown = attributes.keys() - _ATTRIBUTES
    if unknown:
        raise ValueError(f"no element here bears {', '.join(sorted(unknown))}")
    target = attributes.get("href")
    if target and not str(target).startswith("#"):
        raise ValueError(f"a report links only within itself, not to {target!r}")
    bare = "".join(
        f" {name}" if value is True else f' {name}="{text(str(value)).html}"'
        for key, value in attributes.items()
        if value is not None and value is not False
        for name in (key.rstrip("_").replace("_", "-"),)
    )
    if tag in _VOID:
        return Markup(f"<{tag}{bare}>")
    return Markup(f"<{tag}{bare}>{joined(children).html}</{tag}>")


def text(words: str) -> Markup:
    """Return hostile text as harmless text: no tag, no role marker, no control sequence."""
    return Markup(html_text(fence(words)))


def joined(children: Iterable[Child]) -> Markup:
    """Return children one after the other."""
    return Markup(
        "".join(
            child.html if isinstance(child, Markup) else text(child).html
            for child in children
            if child is not None
        )
    )


def listed(children: Iterable[Child], *, kind: str = "ul", class_: str = "") -> Markup:
    """Return children as items of a list."""
    items = [element("li", child) for child in children]
    return element(kind, *items, class_=class_ or None)


def table(
    heads: Iterable[Child], rows: Iterable[Iterable[Child]], *, label: str, class_: str = ""
) -> Markup:
    """Return a table that scrolls by itself where a page is narrow.

    The first cell of each row is its heading.

    Args:
        heads: of the columns.
        rows: of cells.
        label: what the table shows, for those who do not see it.
        class_: of the table.
    """
    head = element("tr", *(element("th", cell, scope="col") for cell in heads))
    lines = []
    for first, *rest in rows:
        cells = [element("th", first, scope="row"), *(element("td", cell) for cell in rest)]
        lines.append(element("tr", *cells))
    grid = element(
        "table", element("thead", head), element("tbody", *lines), class_=class_ or None
    )
    return element(
        "div", grid, class_="scroll", role="region", tabindex="0", aria_label=label
    )


def folded(summary: Child, *children: Child, class_: str = "") -> Markup:
    """Return a block that opens on a click, without a script."""
    head = element("summary", summary)
    return element("details", head, *children, class_=class_ or None)


class PageSection(NamedTuple):
    """One part of a page."""

    id: str
    title: str
    body: Markup


def section(id: str, title: str, text: str, *parts: Child) -> PageSection:
    """Return a section that opens with a sentence or two."""
    lead = element("p", text, class_="lead") if text else None
    return PageSection(id, title, joined((lead, *parts)))


def picture(svg: str, caption: Child = None, *, wide: str = "") -> Markup:
    """Return a drawing of ours as a figure.

    Args:
        svg: from `superalign_env.figures`, which is the only place that draws.
        caption: below it.
        wide: what it is called, if it keeps its size and scrolls where a page is narrow.
    """
    below = None if caption is None else element("figcaption", caption)
    graphic = Markup(svg)
    if wide:
        graphic = element(
            "div", graphic, class_="scroll", tabindex="0", role="region", aria_label=wide
        )
    return element("figure", graphic, below, class_="wide" if wide else None)


def badge(word: str) -> Markup:
    """Return a status word as a badge."""
    tone = _TONES.get(word, "")
    return element("span", word, class_=f"badge {tone}".strip())


def command(*words: str) -> Markup:
    """Return a command line that a reader may copy."""
    return element("code", " ".join(("superalign", *map(shlex.quote, words))))


def evidence(fields: Mapping[str, Any], called: names.Names) -> Markup:
    """Return the evidence of an event as a list of names and values."""
    parts = []
    for key, value in names.flat(fields).items():
        findings = fields.get(key)
        content: Child = _short(called.within(value))
        if isinstance(findings, list) and _are_findings(findings):
            content = listed(_finding(finding) for finding in findings)
        elif isinstance(findings, list) and len(value) > _LONG:
            content = f"{len(findings)} entries"
        parts += [element("dt", called.within(_spelled(key))), element("dd", content)]
    return element("dl", *parts, class_="evidence")


def said(text: str) -> Markup:
    """Return a text that somebody said; all of its lines are marked by the style sheet."""
    return element("span", cut(text, _LONGEST_TEXT), class_="said")


def _spelled(key: str) -> str:
    """Return a dotted key as words."""
    return key.replace(".", ": ").replace("_", " ")


def _are_findings(values: list[Any]) -> bool:
    """Return whether these are conditions in words, as the gate writes them."""
    return bool(values) and all(
        isinstance(value, dict) and "words" in value for value in values
    )


def _finding(finding: dict[str, Any]) -> Markup:
    met = finding.get("met")
    mark = "" if met is None else "✓ " if met else "✗ "
    return joined((mark, str(finding["words"])))


_TONES = {
    "accepted": "good",
    "done": "good",
    "trained": "good",
    "failed": "warn",
    "interrupted": "warn",
    "open": "warn",
    "rolled back": "warn",
    "stop": "warn",
    "roll-back": "warn",
}
_LONG = 400
_LONGEST_TEXT = 20_000
"""Characters of a text on a page; the command above a transcript shows all of it."""


def _short(value: str) -> str:
    try:
        return names.number(float(value))
    except ValueError:
        return cut(value, _LONG)


def page(title: str, head: Markup, sections: Iterable[PageSection]) -> str:
    """Return the page as HTML.

    Its policy allows one style sheet, named by its hash, and nothing else: even if text of
    a record were taken for markup, no browser would run it or fetch anything for it.

    Args:
        title: of the window.
        head: what stands above everything.
        sections: in order; the page begins with links to them.
    """
    blocks = list(sections)
    sheet = style()
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    links = listed(element("a", part.title, href=f"#{part.id}") for part in blocks)
    body = joined(
        element("section", element("h2", part.title, id=part.id), part.body)
        for part in blocks
    )
    document = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=policy),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("meta", name="referrer", content="no-referrer"),
            element("title", f"{title} · superalign"),
            # Made here from our own file and palette; a record has no part in it.
            element("style", Markup(sheet)),
        ),
        element(
            "body",
            element("a", "To the content", href="#content", class_="skip"),
            head,
            element(
                "nav", element("p", title, class_="kicker"), links, aria_label="Contents"
            ),
            element("main", body, id="content", tabindex="-1"),
            element(
                "footer",
                element("p", "Made from the record alone, by superalign."),
                element("p", element("a", "To the top", href="#top")),
            ),
        ),
        lang="en",
    )
    return f"<!doctype html>\n{document.html}\n"


def style() -> str:
    """Return the style sheet: colours by role, then the rules of `style.css`."""
    rules = files("superalign_env.report").joinpath("style.css").read_text(encoding="utf-8")
    swatches = "".join(
        f".b-{role}{{background:var(--{role})}}" for role in palette.ROLES if role[0] == "s"
    )
    light, dark = palette.variables(), palette.variables(dark=True)
    return (
        f":root{{{light}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
        f"{palette.classes()}{swatches}\n{rules}"
    )
