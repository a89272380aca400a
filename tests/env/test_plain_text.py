"""Texts of others on every surface: nothing hidden, nobody's line forged, still readable."""

import html
import re
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from superalign_env.plain_text import (
    MARK,
    columns,
    cut,
    fence,
    html_text,
    inline,
    markdown,
    markdown_code,
    markdown_table,
    marked,
    one_line,
    visible,
    without_surrogates,
)
from tests.hostile import HOSTILE

risky = "".join(HOSTILE.values()) + "<>&\"'`|=+-@\t\n\r ❤🙂\u200d\ufe0f"
any_text = st.one_of(
    st.text(st.characters()),
    st.text(st.sampled_from(risky)),
    st.sampled_from([*HOSTILE.values()]),
)


def hostile(test):
    """Try a test with every text of the list, and with many that are made of them."""
    for text in HOSTILE.values():
        test = example(text)(test)
    return settings(max_examples=25, deadline=None)(given(any_text)(test))


def hidden(text):
    """Return the characters of a text that no reader sees, as Unicode classes them."""
    alone = re.sub("(?<=[©-\U0001faff])\ufe0f|(?<=[©-\U0001faff\ufe0f])\u200d", "", text)
    alone = re.sub("(?<=[0-9#*])\ufe0f(?=\u20e3)", "", alone)
    alone = re.sub(
        "(?<=[\u0900-\u17ff])[\u200c\u200d]|(?<=[ء-ݿ])\u200c(?=[ء-ݿ])", "", alone
    )
    classed = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    blank = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u2800\u3164\uffa0"
    return [
        f"U+{ord(c):04X}"
        for c in alone
        if (unicodedata.category(c) in classed and c not in "\n\t" and not ideographs(c))
        or c in blank
        or unicodedata.name(c, "").startswith("VARIATION SELECTOR")
    ]


def ideographs(char):
    """Whether an unassigned character lies among ideographs, where a box stands for it."""
    return "\u3400" <= char <= "\u9fff" or "\U00020000" <= char < "\U000323b0"


SURFACES = {
    "visible": visible,
    "terminal": lambda text: "\n".join(marked(text, head="learner_0: ")),
    "annotator": lambda text: "\n".join(marked(text, head="▶ learner_0: ", width=80)),
    "inline": inline,
    "one line": one_line,
    "html": lambda text: html.unescape(html_text(text)),
    "markdown": markdown,
    "markdown code": markdown_code,
}


@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
def test_nothing_is_hidden_on_any_surface(surface):
    @hostile
    def check(text):
        shown = surface(text)
        assert hidden(shown) == []
        assert hidden(surface(shown)) == []
        shown.encode()  # can be written

    check()


@hostile
def test_showing_what_is_shown_changes_nothing(text):
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize("width", [None, 20, 80])
def test_every_line_of_a_text_but_the_first_is_marked_and_fits(width):
    @hostile
    def check(text):
        first, *others = marked(text, head="learner_0: ", width=width)
        assert first.startswith("learner_0: ")
        assert all(line.startswith(MARK) for line in others)
        assert not any(re.search("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", n) for n in others)
        assert len([first, *others]) > text.count("\n")
        if width:
            assert max(map(columns, [first, *others])) <= width
        kept = "".join(
            [first.removeprefix("learner_0: "), *[n[len(MARK) :] for n in others]]
        )
        assert "".join(kept.split()) == "".join(visible(text).split())

    check()


def test_a_head_is_one_line_too():
    assert marked("a", head="x\n▶ learner_0: ") == ["x⟨U+000A⟩▶ learner_0: a"]


@pytest.mark.parametrize("width", [20, 80])
def test_a_head_that_is_longer_than_the_screen_is_folded_and_marked(width):
    first, *others = marked("a\nb", head="seat " * 40 + "x" * 90, width=width)
    assert max(map(columns, [first, *others])) <= width
    assert others and all(line.startswith(MARK) for line in others)


@hostile
def test_what_stands_within_a_line_stays_there(text):
    assert len(inline(text).splitlines()) <= 1 and "\t" not in inline(text)
    line = one_line(text, 60)
    assert len(line) <= 60 and len(line.splitlines()) <= 1 and line == line.strip()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb\u202ec\n\td", "a⟨U+001B⟩[31mb⟨U+202E⟩c\n\td"),
        ("hi\U000e0041\ufe0f", "hi⟨U+E0041⟩⟨U+FE0F⟩"),
        ("e" + "\u0301" * 6, "e" + "\u0301" * 4 + "⟨U+0301⟩⟨U+0301⟩"),
        ("\ud800", "⟨U+D800⟩"),
    ],
)
def test_what_is_hidden_is_shown_as_its_code_point(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "日本 é 🙂 ¡größe! §5 «x» … – ½ ∑ ﬁ",
        "❤\ufe0f 👩\u200d🚀 👩🏽\u200d❤\ufe0f\u200d👨 1\ufe0f\u20e3 🇩🇪",  # emoji
        "می\u200cخواهم",  # Persian
        "क्\u200dष श्री\u200d"[:-1] + " ന്\u200d",  # Devanagari, Malayalam
        "שָׁלוֹם بِسْمِ ٱللَّهِ Việt ภาษาไทย",
    ],
)
def test_what_people_write_stays_as_it_is(text):
    assert visible(text) == text


def test_long_texts_are_cut_and_what_is_left_out_is_counted():
    assert cut("abc", 3) == "abc"
    assert cut("x" * 100_000, 50) == "x" * 50 + " (… 99,950 more characters)"
    assert one_line("a  b\n c", 80) == "a b c" and one_line("abcdef", 4) == "abc…"


class Parsed(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found, self.texts = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, attrs))

    def handle_data(self, data):
        self.texts.append(data)


@hostile
def test_html_is_text_alone_within_elements_and_attributes(text):
    shown = html_text(text)
    assert not set("<>\"'") & set(shown)
    page = Parsed(f'<p title="{shown}">{shown}</p>')
    assert page.found == [("p", [("title", visible(text))])]
    assert "".join(page.texts) == visible(text)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("[x](http://y.z)", r"[x\](http\://y.z)"),
        ("<b> & *a* `c` _d_", r"&lt;b&gt; &amp; \*a\* \`c\` \_d\_"),
        ("a|b\n# c", r"a\|b # c"),
        ("# h", r"\# h"),
        ("1. one", r"1\. one"),
        ("- item", r"\- item"),
        ("--- rule", r"\--- rule"),
        ("-2.5", "-2.5"),
        ("2.000 [1, 3]", "2.000 [1, 3]"),
        ("learner_0 .52 [.05, .22] → A2+ ±3", "learner_0 .52 [.05, .22] → A2+ ±3"),
    ],
)
def test_markdown_formats_and_links_nothing(text, escaped):
    assert markdown(text) == escaped


@hostile
def test_markdown_stays_in_its_cell_and_its_code(text):
    row = markdown_table(["head"], [[markdown(text)]]).split("\n")
    assert len(row) == 3 and len(re.findall(r"(?<!\\)(?:\\\\)*\|", row[2])) == 2
    code = markdown_code(text)
    size = len(code) - len(code.lstrip("`"))
    assert code.endswith("`" * size) and "`" * size not in code[size:-size]


@given(
    any_text,
    st.sampled_from(["<|critic|>", "<|end|>", "<|im_start|>", "<|<|x|>"]),
    any_text,
)
@settings(max_examples=25, deadline=None)
def test_no_fenced_text_holds_a_role_marker(before, marker, after):
    fenced = fence(before + marker + after)
    assert "<|" not in fenced and fence(fenced) == fenced
    assert fenced.replace("‹|", "<|") == (before + marker + after).replace("‹|", "<|")


@hostile
def test_what_is_left_without_surrogates_can_be_written(text):
    clean = without_surrogates(text)
    clean.encode()
    assert "\x00" not in clean and len(clean) == len(text)
    assert without_surrogates(clean) == clean
