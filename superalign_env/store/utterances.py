"""Utterances of an episode: one JSON list, and one run of bytes for token ids and log-probs.

A list of short arrays is written in one go and takes a third of the room that a row for
each utterance would; the view ``utterances`` shows them as rows. Token ids are 32-bit
integers, log-probs 64-bit floats, little-endian: ``numpy.frombuffer(blob, "<i4")`` and
``"<f8"`` read them without a copy.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from struct import Struct, error
from typing import Any, Literal

import msgspec

from superalign_env.canonical import to_json
from superalign_env.types import Reply, ToolCall, Usage, Utterance

_encode = msgspec.json.Encoder().encode


class Rare(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Fields that most utterances leave empty."""

    repair: str = ""
    raw: str | None = None
    """What the agent wrote, where the rules saw another text."""
    thought: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    error: str = ""
    notes: dict[str, int] = {}


_NOTHING = Rare()


class UtteranceLine(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One utterance, as an array. Its order is public: the view ``utterances`` rests on it."""

    turn: int
    seat: str
    text: str
    policy: str
    offset: int
    """Where its bytes begin: prompt ids, token ids and log-probs."""
    prompt: int | None
    """Number of bytes; None (in all three) where there is no reply."""
    token: int | None
    logprob: int | None
    group: int = 0
    view: str = ""
    finish: Literal["stop", "length", "error", ""] = ""
    counted: bool = False
    """Whether its usage is known and is just its tokens: what own models report."""
    rare: Rare = _NOTHING

    def numbers(
        self, blob: bytes
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]:
        """Return prompt ids, token ids and log-probs.

        Raises:
            ValueError: the blob does not hold them.
        """
        if self.prompt is None:
            return (), (), ()
        prompt, token = self.prompt // 4, (self.token or 0) // 4
        ids = prompt + token
        try:
            layout = _layout(ids, (self.logprob or 0) // 8)
            numbers = layout.unpack_from(blob, self.offset)
        except error as reason:
            raise ValueError(f"utterance {self.turn} has no numbers: {reason}") from reason
        return numbers[:prompt], numbers[prompt:ids], numbers[ids:]


_decode = msgspec.json.Decoder(list[UtteranceLine]).decode


def write_utterances(utterances: Iterable[Utterance]) -> tuple[bytes, bytes]:
    """Return the JSON of an episode's utterances, and the bytes of their numbers.

    Raises:
        ValueError: ids beyond 32 bits, lone surrogates, numbers that are not finite.
    """
    lines: list[tuple[Any, ...]] = []
    blobs: list[bytes] = []
    offset = 0
    for u in utterances:
        reply = u.reply
        if reply is None:
            none = (None, None, None)
            silent = (u.turn, u.seat, u.text, "", offset, *none, u.group, u.view, "", False)
            lines.append((*silent, _rare(u)) if u.repair else silent)
            continue
        ids, new_ids, logprobs = reply.prompt_ids, reply.token_ids, reply.logprobs
        prompt, token, logprob = 4 * len(ids), 4 * len(new_ids), 8 * len(logprobs)
        usage = reply.usage
        counted = (
            usage is not None
            and usage.prompt_tokens == len(ids)
            and usage.completion_tokens == len(new_ids)
            and str(usage.dollars) == "0.0"  # neither 0 nor −0.0, which JSON tells apart
        )
        line: tuple[Any, ...] = (
            u.turn,
            u.seat,
            u.text,
            reply.policy,
            offset,
            prompt,
            token,
            logprob,
            u.group,
            u.view,
            reply.finish,
            counted,
        )
        if (
            reply.text != u.text
            or u.repair
            or reply.thought
            or reply.tool_calls
            or (usage is not None and not counted)
            or reply.error
            or reply.notes
        ):
            line = (*line, _rare(u, counted=counted))
        lines.append(line)
        blobs.append(_bytes(ids, new_ids, logprobs))
        offset += prompt + token + logprob
    return _encode(lines), b"".join(blobs)


def read_lines(said: str) -> list[UtteranceLine]:
    """Return the lines that lie in ``episodes.said``.

    Raises:
        ValueError: it is no list of lines.
    """
    return _decode(said)


def require_numbers(said: str, blob: bytes) -> None:
    """Raise unless the blob is long enough for the numbers of all lines.

    Raises:
        ValueError: it is not, or these are no lines.
    """
    size = len(blob)
    for line in _decode(said):
        if line.prompt is not None:
            end = line.offset + line.prompt + (line.token or 0) + (line.logprob or 0)
            if end > size:
                raise ValueError(f"utterance {line.turn} has no numbers")


def read_utterances(said: str, blob: bytes) -> Iterator[Utterance]:
    """Yield the utterances that `write_utterances` made JSON and bytes of.

    Raises:
        ValueError: they are not what it writes.
    """
    for line in _decode(said):
        rare = line.rare
        reply = None
        if line.prompt is not None:
            prompt_ids, token_ids, logprobs = line.numbers(blob)
            tokens = Usage(len(prompt_ids), len(token_ids)) if line.counted else rare.usage
            reply = Reply(
                line.text if rare.raw is None else rare.raw,
                rare.thought,
                rare.tool_calls,
                prompt_ids,
                token_ids,
                logprobs,
                line.finish,
                tokens,
                line.policy,
                rare.error,
                rare.notes,
            )
        yield Utterance(
            line.seat, line.turn, line.group, line.text, reply, rare.repair, line.view
        )


def _rare(said: Utterance, *, counted: bool = False) -> msgspec.Raw:
    reply = said.reply
    if reply is None:
        return msgspec.Raw(to_json(Rare(said.repair)))
    raw = None if reply.text == said.text else reply.text
    usage = None if counted else reply.usage
    rare = Rare(
        said.repair,
        raw,
        reply.thought,
        reply.tool_calls,
        usage,
        reply.error,
        reply.notes,
    )
    return msgspec.Raw(to_json(rare))


@lru_cache(maxsize=8192)
def _layout(ids: int, floats: int) -> Struct:
    return Struct(f"<{ids}i{floats}d")


def _bytes(ids: Sequence[int], new_ids: Sequence[int], logprobs: Sequence[float]) -> bytes:
    layout = _layout(len(ids) + len(new_ids), len(logprobs))
    try:
        return layout.pack(*ids, *new_ids, *logprobs)
    except error as reason:
        raise ValueError(
            f"token ids must be 32-bit integers and log-probs numbers: {reason}"
        ) from reason
