"""The one JSON form, and the hash over it."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign_env.canonical import content_hash, from_json, text_hash, to_json
from superalign_env.types import Reward, Task, Usage, Verdict, View

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=12,
)


@given(plain)
def test_plain_values_survive_the_trip(value):
    assert json.loads(to_json(value)) == value
    assert to_json(json.loads(to_json(value))) == to_json(value)


@given(st.dictionaries(st.text("abcdef"), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_matter(value):
    backwards = dict(reversed(value.items()))
    assert to_json(value) == to_json(backwards)
    assert content_hash(value) == content_hash(backwards)


def test_there_is_no_white_space_and_floats_are_short():
    assert to_json({"b": [1, 2.5], "a": "ä"}) == '{"a":"ä","b":[1,2.5]}'.encode()
    assert to_json(0.1) == b"0.1"


def test_equal_structs_have_equal_json_however_they_were_made():
    assert to_json(Task("i", "f", "p", split="".join(["tr", "ain"]))) == to_json(
        Task("i", "f", "p")
    )
    assert to_json(Verdict(0.5, float("1" + ".0"))) == to_json(Verdict(0.5))
    view = View("e", 0, "s_0", "s", 0, 1, "text", form="".join(["fr", "ee"]))
    assert content_hash(view) == content_hash(View("e", 0, "s_0", "s", 0, 1, "text"))
    assert content_hash(from_json(to_json(view), View)) == content_hash(view)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -math.nan])
@pytest.mark.parametrize(
    "wrap",
    [lambda x: x, lambda x: [None, x], lambda x: {"a": (x,)}, lambda x: Usage(1, 2, x)],
)
def test_numbers_without_end_have_no_form(number, wrap):
    with pytest.raises(ValueError, match="finite"):
        to_json(wrap(number))


def test_large_numbers_and_none_are_not_mistaken_for_them():
    value = [
        None,
        1.7976931348623157e308,
        -1.7976931348623157e308,
        5e-324,
        "\x7f\xf8",
        2**62,
    ]
    assert json.loads(to_json(value)) == value


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_lone_surrogates_have_no_form(text):
    with pytest.raises(ValueError):
        to_json(text)


def test_what_does_not_fit_the_type_is_an_error():
    with pytest.raises(ValueError):
        from_json(b'{"seat": 1}', Reward)
    with pytest.raises(ValueError):
        from_json(b"{", Reward)


def test_hashes_have_32_digits_and_are_the_same_on_every_machine():
    assert text_hash("a") == "27c35e6e9373877f29e562464e46497e"
    assert (
        content_hash({"b": {"y": 1, "x": [1.5, None]}, "a": "u"})
        == "d38478237c3d6b615ee32e59b54186c0"
    )
