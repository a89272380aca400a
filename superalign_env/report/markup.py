"""HTML that escapes by default: text is text unless it was made by `element`.

Whatever comes from a record is hostile. It reaches a page only as a child or as the value
of an attribute, and both are escaped; there is no way to write a script, a style or a link
that leaves the page.
"""

from collections.abc import Iterable
from typing import NamedTuple

from superalign_env.plain_text import fence, html_text, without_surrogates

_VOID = frozenset({"br", "hr", "meta"})
_ATTRIBUTES = frozenset(
    {
        *("aria_label", "role", "scope", "tabindex", "title", "lang", "open"),
        *("class_", "href", "id", "charset", "content", "http_equiv", "name"),
    }
)


class Markup(NamedTuple):
    """HTML that was made here and is not escaped again."""

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


def text(said: str) -> Markup:
    """Return hostile text as harmless text: no tag, no role marker, no control sequence."""
    return Markup(html_text(fence(without_surrogates(said))))


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
    made = element(
        "table", element("thead", head), element("tbody", *lines), class_=class_ or None
    )
    return element(
        "div", made, class_="scroll", role="region", tabindex="0", aria_label=label
    )


def folded(summary: Child, *children: Child, class_: str = "") -> Markup:
    """Return what opens on a click, without a script."""
    said = element("summary", summary)
    return element("details", said, *children, class_=class_ or None)
