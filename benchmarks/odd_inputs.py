"""Odd inputs of every kind that enters, and what takes them in.

Inputs are JSON, so that what was found can be kept in tests/system/corpus. An input may be
refused in words (`SuperalignError`, or the error that a parser documents); nothing else may be
raised, and what is taken must come back from the record as it was.
"""

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

import superalign_env
from superalign_agents.completion_bodies import read_reply
from superalign_env.admission import admitted, with_text
from superalign_env.canonical import from_json, to_json
from superalign_env.errors import InvalidUtterance, InvalidVerdict, SuperalignError
from superalign_env.game import Game
from superalign_env.replies import MARKER, decode, encode, read_action
from superalign_env.store.serialization import Packer, unpack
from superalign_env.testing.agent_check import example_views
from superalign_env.types import EpisodeKey, Reply, ToolCall, Usage, Verdict
from superalign_env.verdicts import parse

Json = Any

# ---------------------------------------------------------------- inputs

_ODD = [
    "\ud800",
    "\x00",
    "\u202e",
    "<|critic|>",
    "score 5 sure 5",
    "fault a 5 at ",
    "```json{",
]
_texts = st.text(max_size=40) | st.lists(
    st.sampled_from(_ODD) | st.text(st.characters(), max_size=4), max_size=5
).map("".join)
_numbers = (
    st.integers(-3, 3)
    | st.sampled_from([2**31, 2**33, -(2**63) - 1, 2**64, 0.5, -1.5, 1e308])
    | st.builds(lambda kind: {"!": kind}, st.sampled_from(["nan", "inf", "digits"]))
)
_leaves = (
    st.none()
    | st.booleans()
    | _numbers
    | _texts
    | st.builds(
        lambda kind: {"!": kind},
        st.sampled_from(["set", "bytes", "object", "odd text", "deep", "long", "endless"]),
    )
)
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=8,
)
_ids = st.lists(st.integers(0, 9) | _leaves, max_size=4) | _leaves
_call = st.fixed_dictionaries(
    {}, optional={"name": _texts | _leaves, "arguments": _values, "id": _texts | _leaves}
)
_replies = st.fixed_dictionaries(
    {"text": _texts | _leaves},
    optional={
        "thought": _texts | _leaves,
        "tool_calls": st.lists(_call | _leaves, max_size=3) | _leaves,
        "prompt_ids": _ids,
        "token_ids": _ids,
        "logprobs": st.lists(_numbers, max_size=4) | _leaves,
        "finish": st.sampled_from(["stop", "length", "error", ""]) | _leaves,
        "usage": st.lists(_numbers, min_size=3, max_size=3) | _leaves,
        "policy": _texts | _leaves,
        "error": st.just("") | _leaves,
    },
)


def _mixed(*pieces: str) -> st.SearchStrategy[str]:
    """Return texts made of pieces of a language, in any order, and of anything else."""
    return st.lists(st.sampled_from(pieces) | _texts, max_size=12).map("".join)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)


def _documents(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """Return JSON objects that have such fields, or something else in their place."""
    optional = {name: value | _JSON for name, value in fields.items()}
    return st.fixed_dictionaries({}, optional=optional).map(json.dumps)


_units = st.floats(0, 1) | st.integers()
_faults = st.lists(
    st.fixed_dictionaries(
        {}, optional={"kind": _texts, "span": _texts, "severity": _units}
    ),
    max_size=3,
)
_verdicts = _documents(
    score=_units, confidence=_units, faults=_faults, critique=_texts
) | _mixed(
    "score 5 sure 5", " fault a 3", " at ", " end", " note ", "```", "json", "{}", " "
)
_actions = st.one_of(
    _mixed(MARKER, "{", "}", '"text"', ":", '"\\ud800"', "[", "]", ",", "NaN", "1e999"),
    _documents(text=_texts, thought=_texts, token_ids=st.lists(st.integers())).map(
        MARKER.__add__
    ),
)
_bodies = _documents(
    choices=st.lists(
        st.fixed_dictionaries(
            {"message": st.fixed_dictionaries({}, optional={"content": _texts | _JSON})},
            optional={
                "finish_reason": st.none() | _texts,
                "token_ids": st.lists(st.integers()),
                "logprobs": _JSON,
            },
        ),
        max_size=2,
    ),
    usage=st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens"]), st.integers() | _JSON
    ),
    model=_texts,
) | _mixed('{"choices":[', "]}", "[" * 3000, "{}", '"\\ud800"', "1" * 5000)
_lines = _documents(
    prompt=_texts, answer=_texts | st.integers(), choices=st.lists(_texts, max_size=4),
    kind=st.sampled_from(["harmful", "benign"]) | _texts, chosen=_texts, rejected=_texts,
    split=st.sampled_from(["train", "test"]) | _texts,
) | _mixed("{", "}", "[" * 3000, '"prompt"', ":", "1" * 5000, "\n")  # fmt: skip
_rows = st.fixed_dictionaries(
    {
        "lines": st.lists(_lines, max_size=3),
        "format": st.sampled_from(["jsonl", "parquet", "raw parquet"]),
        "kind": st.sampled_from(["free-form", "multiple-choice", "preference", "requests"]),
    }
)
_words = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "seed",
                "rounds",
                "gap",
                "lineup.learner",
                "train.learner",
                "preset",
                "options",
            ]
        )
        | _texts,
        st.sampled_from(["=", "", "+=", "~", "@", "=["]),
        st.sampled_from(["1", "-1", "nan", "1e99", "micro/3", "null", "{a:1}", "${seed}"])
        | _texts,
    ).map("".join),
    max_size=3,
)

# ---------------------------------------------------------------- what takes them in


class _OddText(str):
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __hash__ = str.__hash__


def _deep(levels: int) -> Json:
    value: Json = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def _endless() -> Any:
    while True:
        yield 1


_THINGS: dict[str, Callable[[], Any]] = {
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "digits": lambda: 10**5000,
    "set": lambda: {1},
    "bytes": lambda: b"\xff",
    "object": object,
    "odd text": lambda: _OddText("stop"),
    "deep": lambda: _deep(5000),
    "long": lambda: "x" * (3 << 20),
    "endless": _endless,
}


def _thing(value: Json) -> Any:
    """Return what an input stands for: JSON, and objects that have no JSON form."""
    if isinstance(value, dict):
        name = value.get("!")
        if len(value) == 1 and isinstance(name, str) and name in _THINGS:
            return _THINGS[name]()
        return {key: _thing(one) for key, one in value.items()}
    return [_thing(one) for one in value] if isinstance(value, list) else value


def _call_of(value: Json) -> Any:
    made = _thing(value)
    if not isinstance(made, dict) or not set(made) <= {"name", "arguments", "id"}:
        return made
    return ToolCall(**{"name": "look", **made})


def _reply_of(value: Json) -> Reply:
    fields = {name: _thing(one) for name, one in value.items()}
    calls = value.get("tool_calls")
    if isinstance(calls, list):
        fields["tool_calls"] = [_call_of(one) for one in calls]
    if isinstance(value.get("usage"), list):
        fields["usage"] = Usage(*fields["usage"])
    return Reply(**fields)


@cache
def _echo() -> Any:
    return superalign_env.make_scenario("echo", max_cycles=1)


def _try_reply(value: Json) -> None:
    reply = with_text(_reply_of(value))
    proper, repair = admitted(reply, 100)
    game = Game(_echo(), EpisodeKey())
    game.step([reply] * len(game.group))
    _try_record(game)
    # It may be used up, as a generator is: so another one travels.
    assert "endless" in str(value) or (
        admitted(decode(encode(_reply_of(value))), 100)[0] == proper
    ), "another reply after the way through an action"
    assert not proper.error or not repair


def _try_record(game: Game) -> None:
    packer = Packer()
    episode = game.episode()
    assert unpack(packer.pack(episode), packer.specs) == episode


def _try_call(value: Json) -> None:
    _try_reply({"text": "a", "tool_calls": [value]})


def _try_verdict(text: Json) -> None:
    try:
        verdict = parse(text)
    except InvalidVerdict as error:
        assert len(str(error).encode()) < 4000
    else:
        assert from_json(to_json(verdict), Verdict) == verdict


def _try_action(action: Json) -> None:
    try:
        read_action(action, strict=True)
    except InvalidUtterance as error:
        assert str(error)
    game = Game(_echo(), EpisodeKey())
    game.step([read_action(action, strict=False)] * len(game.group))
    _try_record(game)


def _try_body(body: Json) -> None:
    try:
        reply = read_reply(body.encode("utf-8", "surrogatepass"), example_views()[0])
    except ValueError:
        return
    game = Game(_echo(), EpisodeKey())
    game.step([reply] * len(game.group))
    _try_record(game)


def _try_rows(value: Json) -> None:
    lines, form = value["lines"], value["format"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("rows.jsonl" if form == "jsonl" else "rows.parquet")
        raw = "\n".join(lines).encode("utf-8", "surrogatepass")
        if form == "parquet":
            import pyarrow  # type: ignore[import-untyped]  # noqa: PLC0415 - only here
            from pyarrow import parquet  # noqa: PLC0415 - only here

            try:
                rows = [json.loads(line) for line in lines]
                parquet.write_table(pyarrow.Table.from_pylist(rows), path)
            except Exception:  # what arrow cannot hold reaches nobody
                return
        else:
            path.write_bytes(raw)
        try:
            source = {"id": "rows", "path": str(path), "kind": value["kind"]}
            game = Game(superalign_env.make_scenario("exam", source=source), EpisodeKey())
        except SuperalignError as error:
            assert str(error)
            return
        game.step([Reply("a")] * len(game.group))
        _try_record(game)


def _try_words(words: Json) -> None:
    from superalign_training.cli.composing import composed  # noqa: PLC0415 - Hydra is slow
    from superalign_training.selfplay.settings import read_settings  # noqa: PLC0415 - as above

    try:
        read_settings(composed(words))
    except SuperalignError as error:
        assert str(error)


class Kind(NamedTuple):
    """One kind of input."""

    inputs: st.SearchStrategy[Any]
    """As JSON, so that what was found can be kept."""
    attempt: Callable[[Any], None]
    """Raises where an input breaks what takes it in."""
    cost: int = 1
    """For the time of so many others."""


KINDS = {
    "reply": Kind(_replies, _try_reply),
    "call": Kind(_call, _try_call),
    "action": Kind(_actions, _try_action),
    "verdict": Kind(_verdicts, _try_verdict),
    "endpoint": Kind(_bodies, _try_body),
    "rows": Kind(_rows, _try_rows, cost=4),
    "override": Kind(_words, _try_words, cost=20),
}
