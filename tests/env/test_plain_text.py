"""The escapes: hostile text is harmless where it is shown, and readable."""

import csv
import html
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign_env.plain_text import (
    csv_cell,
    fence,
    html_text,
    one_line,
    terminal,
    without_surrogates,
)

any_text = st.text(st.characters())


@given(
    any_text,
    st.sampled_from(["<|critic|>", "<|end|>", "<|im_start|>", "<|<|x|>"]),
    any_text,
)
def test_no_fenced_text_holds_a_role_marker(before, marker, after):
    fenced = fence(before + marker + after)
    assert "<|" not in fenced and fence(fenced) == fenced
    assert len(fenced.replace("‹|", "<|")) >= len(marker)


@given(any_text)
def test_fencing_changes_nothing_else(text):
    assert fence(text).replace("‹|", "<|") == text.replace("‹|", "<|")
    if "<|" not in text:
        assert fence(text) == text


@given(any_text)
def test_a_terminal_never_gets_a_control_character(text):
    shown = terminal(text)
    bad = [c for c in shown if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160]
    assert bad == []
    assert not set(shown) & set(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
    )


def test_a_terminal_shows_what_was_there():
    assert terminal("a\x1b[31mb\u202ec\r\n\t") == "a\\x1b[31mb\\x202ec\\x0d\n\t"
    assert terminal("日本 é 🙂") == "日本 é 🙂"


@given(any_text)
def test_html_holds_no_markup(text):
    shown = html_text(text)
    assert not set("<>\"'") & set(shown)
    assert html.unescape(shown) == terminal(text)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_a_spreadsheet_reads_no_formula(text):
    assert csv_cell(text) == "'" + text
    out = io.StringIO()
    csv.writer(out).writerow([csv_cell(text)])
    assert not out.getvalue().lstrip('"').startswith(("=", "+", "-", "@"))


def test_other_cells_stay_as_they_are():
    assert [csv_cell(t) for t in ("", "a=1", " =1", "1-1")] == ["", "a=1", " =1", "1-1"]


@given(any_text)
def test_what_is_left_without_surrogates_can_be_written(text):
    clean = without_surrogates(text)
    clean.encode()
    assert "\x00" not in clean and len(clean) == len(text)
    assert without_surrogates(clean) == clean


@given(any_text, st.integers(2, 100))
def test_one_line_is_one_line_and_short(text, limit):
    line = one_line(text, limit)
    assert len(line) <= limit and "\n" not in line and line == line.strip()


def test_one_line_says_when_it_leaves_something_out():
    assert one_line("a  b\n c", 80) == "a b c" and one_line("abcdef", 4) == "abc…"
