"""Check that no seat is shown texts that its scenario declares hidden from it."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from superalign_env.errors import ProtocolError
from superalign_env.game import Game
from superalign_env.protocols import HidesText
from superalign_env.testing.contracts import calling
from superalign_env.types import Brief, Reply, Seat, Utterance

_LETTERS = {"one": "qzxjkvwbfg", "other": "hmnpyrtdlc", "said": "QZXJKVWBFG"}
_MARKER = re.compile("|".join(f"[{letters}]{{12}}" for letters in _LETTERS.values()))


def check_hidden(game: Game) -> int:
    """Check that no seat is shown texts hidden from it, in a case that was played.

    Hidden texts of the first state are replaced by markers there, and the case is played by
    the same words twice, over two sets of markers: a view of a seat from which they are
    hidden may hold none, nor differ between the two. Then it is played by words that are
    markers themselves, for texts that become secret when somebody says them.

    Args:
        game: a case, played to its end.

    Returns:
        How many texts were hidden from some seat; 0 where the scenario hides none.

    Raises:
        ProtocolError: a view shows a hidden text, or depends on it.
    """
    if not isinstance(game.scenario, HidesText):
        return 0
    scenario: Any = game.scenario
    first = Game(scenario, game.key, task=game.task).state
    texts = {t for seat in scenario.seats for t in _hidden(scenario, first, seat)}
    texts_kept = {
        text for text in texts if _planted(first, {text: marker(0, "one")}) != first
    }
    worlds = [
        _planted(
            first, {text: marker(n, world) for n, text in enumerate(sorted(texts_kept))}
        )
        for world in ("one", "other")
    ]
    groups = _groups(game.utterances)
    replaced = _groups([_said_instead(u, n) for n, u in enumerate(game.utterances)])
    hidden_texts = _compare(scenario, worlds, groups) + _compare(scenario, worlds, replaced)
    _check_as_it_is(game, scenario, first, texts_kept)
    return len(texts) + hidden_texts


def _said_instead(utterance: Utterance, number: int) -> Utterance:
    text = marker(number, "said")
    return msgspec.structs.replace(utterance, text=text, reply=Reply(text), repair="")


def marker(number: int, world: str) -> str:
    """Return a text that stands for a secret; in another world no letter of it is the same."""
    digits = f"{(number + 1) * 982_451_653 % 10**12:012d}"
    return "".join(_LETTERS[world][int(digit)] for digit in digits)


def _compare(
    scenario: Any, worlds: Sequence[Any], words: Sequence[tuple[Utterance, ...]]
) -> int:
    """Play two worlds side by side; return the number of hidden markers."""
    hidden_texts = 0
    for turn in range(len(words) + 1):
        groups = [scenario.to_move(state) for state in worlds]
        if groups[0] != groups[1]:
            return hidden_texts  # who speaks may follow from what is hidden
        for seat in groups[0]:
            hidden = [_hidden(scenario, state, seat) for state in worlds]
            briefs = [scenario.view(state, seat) for state in worlds]
            for texts, brief in zip(hidden, briefs, strict=True):
                hidden_texts += len(texts)
                markers = [text for text in texts if _MARKER.fullmatch(text)]
                _require_absent(markers, brief, seat, turn)
            if all(hidden) and briefs[0] != briefs[1]:
                raise ProtocolError(
                    f"what is hidden from {seat} changes its view (turn {turn}, "
                    f"{_difference(*briefs)}); show nothing that is made from it, or leave it "
                    "out of hidden(state, seat) once the seat may know"
                )
        if turn == len(words) or [u.seat for u in words[turn]] != list(groups[0]):
            return hidden_texts
        with calling(f"with hidden texts exchanged, turn {turn}", words[turn]):
            steps = [scenario.apply(state, words[turn]) for state in worlds]
        worlds = [step.state for step in steps]
        if any(step.ending is not None for step in steps):
            return hidden_texts
    return hidden_texts


def _check_as_it_is(game: Game, scenario: Any, state: Any, texts_kept: set[str]) -> None:
    """Check the case as it was played, by secrets that could not be exchanged in its state.

    What somebody said, or the task says to all, is no secret any more.
    """
    public = " ".join([game.task.prompt, *(u.text for u in game.utterances)])
    for turn, words in enumerate(_groups(game.utterances)):
        for seat in scenario.to_move(state):
            secrets = {
                s for s in _hidden(scenario, state, seat) if s not in public
            } - texts_kept
            _require_absent(secrets, scenario.view(state, seat), seat, turn)
        state = scenario.apply(state, words).state


def _hidden(scenario: Any, state: Any, seat: Seat) -> list[str]:
    with calling(f"hidden(state, {seat!r})"):
        listed = scenario.hidden(state, seat)
    if isinstance(listed, str) or not isinstance(listed, Iterable):
        raise ProtocolError(
            f"hidden(state, {seat!r}) gave a {type(listed).__name__}; return texts, as in "
            "(state.secret,)"
        )
    texts = list(listed)
    for text in texts:
        if not isinstance(text, str):
            raise ProtocolError(
                f"hidden(state, {seat!r}) names {text!r}; name texts, as str(…) of it"
            )
    return [text for text in texts if text]


def _require_absent(texts: Iterable[str], brief: Brief, seat: Seat, turn: int) -> None:
    for field in brief.__struct_fields__:
        value = str(getattr(brief, field))
        for text in texts:
            # A marker is found anywhere; a short word may be a part of another.
            edge = "" if _MARKER.fullmatch(text) else r"\b"
            if re.search(f"{edge}{re.escape(text)}{edge}", value):
                raise ProtocolError(
                    f"{seat} is shown what hidden(state, seat) says it must not see (turn "
                    f"{turn}, in its {field}); leave it out of the view, or out of hidden "
                    "once the seat may know"
                )


def _difference(one: Brief, other: Brief) -> str:
    fields = [f for f in one.__struct_fields__ if getattr(one, f) != getattr(other, f)]
    return f"its {' and '.join(fields)}"


def _groups(utterances: Sequence[Utterance]) -> list[tuple[Utterance, ...]]:
    groups: dict[int, list[Utterance]] = {}
    for utterance in utterances:
        groups.setdefault(utterance.group, []).append(utterance)
    return [tuple(group) for group in groups.values()]


def _planted(value: Any, markers: Mapping[str, str]) -> Any:
    """Return a copy of plain values in which some texts are others."""
    if isinstance(value, str):
        return markers.get(value, value)
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **dict(_fields(value, markers)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **dict(_fields(value, markers)))
    if isinstance(value, (list, tuple, set, frozenset)):
        parts = [_planted(part, markers) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        return {_planted(k, markers): _planted(v, markers) for k, v in value.items()}
    return value


def _fields(value: Any, markers: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    names = (
        value.__struct_fields__
        if isinstance(value, msgspec.Struct)
        else [field.name for field in dataclasses.fields(value) if field.init]
    )
    for name in names:
        yield name, _planted(getattr(value, name), markers)
