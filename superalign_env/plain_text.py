"""Text of others made harmless where it is shown; no other module escapes.

Texts, names and error messages come from agents, plug-ins, endpoints, files and people. They
pass through one function for each surface:

========================================  ==========================================
surface                                   function
========================================  ==========================================
terminal, annotator's terminal, notebook  `marked` for texts, `inline` within a line
table cells, pictures                     `one_line`
HTML                                      `html_text`
Markdown                                  `markdown`, `markdown_code`, `markdown_table`
prompts                                   `fence`
========================================  ==========================================

All but the last show what a reader would not see, such as ``⟨U+202E⟩`` (`visible`). A text may
spell such a mark out; it can hide nothing by that. The record keeps the characters.
"""

import html
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain

MARK = "  │ "
"""Begins every further line of a text; no line of the program begins so."""

_LONGEST = 2000
"""Characters of a name, path or reason within a line; the others are counted."""

_MOST_MARKS = 4
"""Combining marks on one base: points and accents of Hebrew take as many."""

_NARROWEST = 8
"""Columns that a text keeps however narrow the screen is."""

_LONGEST_SIZE = 7
"""Digits, with one more, that the size of a screen may have."""

_SPEAKER = re.compile(r"<\|")
_ASCII_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")

# Three characters that join others are invisible by themselves and needed at their places:
# the emoji selector and joiner within emoji, the joiner and non-joiner after a virama, the
# non-joiner between Arabic letters (as internationalised domain names have it, RFC 5892).
_EMOJI = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u25fe"
    "\u2600-\u27bf\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_VIRAMA = (
    "[\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d3b\u0d3c\u0d4d\u0dca\u1039\u17d2]"
)
_ARABIC = "[\u0620-\u064a\u066e-\u06d3\u06d5\u06ee\u06ef\u06fa-\u06fc\u06ff\u0750-\u077f]"
_JOINER = re.compile(
    f"((?<={_EMOJI})\ufe0f|(?<=[0-9#*])\ufe0f(?=\u20e3)"
    f"|(?:(?<={_EMOJI})|(?<={_EMOJI}\ufe0f))\u200d(?={_EMOJI})"
    f"|(?<={_VIRAMA})[\u200c\u200d]|(?<={_ARABIC})\u200c(?={_ARABIC}))|[\u200c\u200d\ufe0f]"
)
_JOINERS = frozenset("\u200c\u200d\ufe0f")
_KEPT = _JOINERS.union("\n\t")
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0").union(
    map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE0F), *range(0xE0100, 0xE01F0)))
)
"""Characters without a shape that are classed as letters, marks or symbols."""

_HIDDEN_KINDS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MIXED = (range(0x3400), range(0xA000, 0xAC00), range(0xD7A4, 0x20000))
"""Where hidden characters lie among others; between are ideographs and Hangul syllables,
above 0x323B0 tags, selectors and private use."""


def visible(text: str) -> str:
    r"""Show every character that a reader would not see as ``⟨U+202E⟩``; \n and \t stay.

    These are controls, format characters (bidi, zero-width, tags), line breaks but \n, lone
    surrogates, private use, what is not assigned, blank fillers, selectors, and marks that
    pile up on a letter or stand at the begin of a line.
    """
    if text.isascii():
        return _ASCII_CONTROL.sub(_code, text)
    hidden, piled = _patterns()
    plain = hidden.sub(_code, text)
    if not _JOINERS.isdisjoint(plain):
        plain = _JOINER.sub(lambda match: match[1] or _code(match), plain)
    return piled.sub(lambda m: (m[1] or m[3] or "") + _coded(m[2] or m[4]), plain)


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return patterns of what is always hidden, and of combining marks that are too many."""
    hidden, marks = [], []
    for char in map(chr, chain(*_MIXED)):
        kind = unicodedata.category(char)
        if char in _BLANK or (kind in _HIDDEN_KINDS and char not in _KEPT):
            hidden.append(ord(char))
        elif kind in ("Mn", "Me") and char not in _KEPT:
            marks.append(ord(char))
    mark = f"[{_ranges(marks)}]"
    return (
        re.compile(f"[{_ranges(hidden)}\U0002fffe\U0002ffff\U000323b0-\U0010ffff]"),
        re.compile(f"(^|[\n\t])({mark}+)|({mark}{{{_MOST_MARKS}}})({mark}+)"),
    )


def _ranges(codes: Sequence[int]) -> str:
    """Return rising code points as the inside of a character class."""
    begins = [c for n, c in enumerate(codes) if not n or codes[n - 1] != c - 1]
    ends = [c for n, c in enumerate(codes, 1) if n == len(codes) or codes[n] != c + 1]
    return "".join(
        f"\\U{begin:08x}-\\U{end:08x}" for begin, end in zip(begins, ends, strict=True)
    )


def _code(match: re.Match[str]) -> str:
    return _coded(match[0])


def _coded(chars: str) -> str:
    return "".join(f"⟨U+{ord(char):04X}⟩" for char in chars)


def cut(text: str, limit: int) -> str:
    """Return a text, or its begin and how many characters are left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]} (… {len(text) - limit:,} more characters)"


def inline(text: str, limit: int = _LONGEST) -> str:
    """Return a text for the inside of a line: every line break and tab is shown, too."""
    line = visible(cut(text, limit))
    return line.replace("\n", "⟨U+000A⟩").replace("\t", "⟨U+0009⟩")


def one_line(text: str, limit: int = 80) -> str:
    """Return a short single line for tables, pictures and error messages."""
    flat = " ".join(visible(text).split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"


def marked(text: str, *, head: str = "", width: int | None = None) -> list[str]:
    r"""Return the lines of a text; all but the first begin with `MARK`.

    No line break, and no line that is too long for the screen, can so pass for another
    speaker's turn or for a line of the program.

    Args:
        text: as it was said.
        head: stands before the first line, such as who speaks.
        width: columns of the screen, at which longer lines are folded; None folds none.
    """
    head = inline(head) if head else ""
    first, *others = visible(text).expandtabs(4).split("\n")
    if width is not None and width - columns(head) < _NARROWEST:
        head, first = "", f"{head}{first}"  # folded, too
    if width is None:
        return [f"{head}{first}", *(f"{MARK}{line}" for line in others)]
    begin, *rest = folded(first, width - columns(head), width - len(MARK))
    lines = [*rest, *(part for line in others for part in folded(line, width - len(MARK)))]
    return [f"{head}{begin}", *(f"{MARK}{line}" for line in lines)]


def folded(line: str, first: int, others: int | None = None) -> Iterator[str]:
    """Yield pieces of a line that fit a screen, folded at spaces where there are any.

    Args:
        line: visible text without a line break.
        first: columns of the first piece.
        others: columns of the others; the same when absent.
    """
    begin, room = 0, first
    while (end := _end(line, begin, max(room, _NARROWEST))) < len(line):
        space = line.rfind(" ", begin + 1, end + 1)
        end = space if space > 0 else end
        yield line[begin:end]
        begin = end + (space > 0)
        room = first if others is None else others
    yield line[begin:]


def _end(line: str, begin: int, room: int) -> int:
    """Return the place after the last character that fits into so many columns."""
    for place in range(begin, len(line)):
        room -= columns(line[place])
        if room < 0:
            return place
    return len(line)


def columns(text: str) -> int:
    """Return the columns that a visible text takes on a screen, at most."""
    if text.isascii():
        return len(text)
    return len(text) + sum(unicodedata.east_asian_width(char) in "WF" for char in text)


def screen_width() -> int | None:
    """Return the columns of the terminal that somebody watches; None where nobody does.

    Also where the output goes through a pager: the errors or the keys are at a terminal.
    """
    chosen = os.environ.get("COLUMNS", "")
    if is_size(chosen) and int(chosen):
        return int(chosen)
    for descriptor in (1, 2, 0):
        with suppress(OSError):
            return os.get_terminal_size(descriptor).columns or None
    return None


def is_size(setting: str) -> bool:
    """Return whether what COLUMNS or LINES says can be the size of a screen."""
    return setting.isascii() and setting.isdigit() and len(setting) < _LONGEST_SIZE


def html_text(text: str) -> str:
    """Escape for elements and attributes of HTML."""
    return html.escape(visible(text), quote=True)


_MARKDOWN = re.compile(
    r"[\\`*~|$]"  # code, emphasis, cells, formulas
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis; not within words
    r"|\](?=[(\[:])"  # links and their targets
    r"|(?<=\w):(?=//)|(?<=[wW]{3})\.|(?<=\w)@(?=\w)"  # links without brackets
)
_BLOCK = re.compile(r"^(?:(?:#{1,6}|[-+])(?=\s|$)|[-=]{2,}|\d+(?=[.)](?:\s|$)))")


def markdown(text: str) -> str:
    """Escape for a sentence or cell of Markdown: nothing is formatted, linked or HTML."""
    plain = _MARKDOWN.sub(lambda match: f"\\{match[0]}", one_line(text, len(text) * 16))
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _BLOCK.sub(_not_a_block, plain)


def _not_a_block(begin: re.Match[str]) -> str:
    """Escape what would begin a heading, list or rule; a number's point follows it."""
    return f"{begin[0]}\\" if begin[0].isdigit() else f"\\{begin[0]}"


def markdown_code(text: str) -> str:
    """Return a text as code within a line of Markdown, whatever backticks it has."""
    line = inline(text, len(text)).replace("|", "\\|")
    fence_ = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    room = " " if line[:1] == "`" or line[-1:] == "`" or not line.strip() else ""
    return f"{fence_}{room}{line}{room}{fence_}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown from cells that were escaped before."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fence(text: str) -> str:
    """Make role markers in an author's text inert: ``<|critic|>`` → ``‹|critic|>``.

    Special tokens of every supported chat format begin with ``<|``; the look-alike
    keeps the text readable and cannot be tokenised as one.
    """
    return _SPEAKER.sub("‹|", text) if "<|" in text else text


def without_surrogates(text: str) -> str:
    """Replace NUL and lone surrogates, which no UTF-8 reader takes, with U+FFFD."""
    return _SURROGATE.sub("\ufffd", text).replace("\x00", "\ufffd")
