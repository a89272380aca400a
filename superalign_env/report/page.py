"""One self-contained page: no script, nothing from outside, light and dark, for print too."""

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files

from superalign_env.figures import palette
from superalign_env.report.markup import Markup, element, joined, listed
from superalign_env.report.section import Section


def page(title: str, head: Markup, sections: Iterable[Section]) -> str:
    """Return the page as HTML.

    Its policy allows one style sheet, named by its hash, and nothing else: even if text of
    a record were taken for markup, no browser would run it or fetch anything for it.

    Args:
        title: of the window.
        head: what stands above everything.
        sections: in order; the page begins with links to them.
    """
    shown = list(sections)
    sheet = style()
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    links = listed(element("a", part.title, href=f"#{part.id}") for part in shown)
    body = joined(
        element("section", element("h2", part.title, id=part.id), part.body)
        for part in shown
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
