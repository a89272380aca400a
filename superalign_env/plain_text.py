"""Escapes of hostile text for prompts, terminals, HTML and CSV; no other module has any.

Transcripts are hostile. Prompts are fenced (no text can forge a role marker),
terminals lose control sequences, HTML and CSV are escaped. No other module does it.
"""

import html
import re

_MARKER = re.compile(r"<\|")
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def fence(text: str) -> str:
    """Make role markers in an author's text inert: ``<|critic|>`` → ``‹|critic|>``.

    Special tokens of every supported chat format begin with ``<|``; the look-alike
    keeps the text readable and cannot be tokenised as one.
    """
    return _MARKER.sub("‹|", text) if "<|" in text else text


def terminal(text: str) -> str:
    r"""Show control and bidirectional characters as ``\x1b``; newlines and tabs stay."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def quoted(text: str) -> str:
    """Mark every further line of a text, so that none can pass for a line of the screen."""
    return text.replace("\n", "\n  │ ")


def html_text(text: str) -> str:
    """Escape for HTML, with control characters made visible."""
    return html.escape(terminal(text), quote=True)


def csv_cell(text: str) -> str:
    """Keep spreadsheets from reading a cell as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def without_surrogates(text: str) -> str:
    """Replace NUL and lone surrogates, which no UTF-8 reader takes, with U+FFFD."""
    return _SURROGATE.sub("\ufffd", text).replace("\x00", "\ufffd")


def one_line(text: str, limit: int = 80) -> str:
    """Return a short single line for tables and error messages."""
    flat = " ".join(terminal(text).split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"
