"""What was said in an episode: one JSON list, and one run of bytes for the numbers.

A list of short arrays is written in one go and takes a third of the room that a row for
each utterance would; the view ``utterances`` shows them as rows.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from superalign_env.canonical import to_json
from superalign_env.store.blobs import floats, integers, packed
from superalign_env.store.database import Row
from superalign_env.types import Reply, ToolCall, Usage, Utterance

_encode = msgspec.json.Encoder().encode


class More(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What most utterances do not have."""

    repair: str = ""
    raw: str | None = None
    """What the agent wrote, where the rules saw another text."""
    thought: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    error: str = ""


_NOTHING_MORE = More()


class Line(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One utterance, as an array. Its order is public: the view ``utterances`` rests on it."""

    turn: int
    seat: str
    text: str
    policy: str
    at: int
    """Where its bytes begin: prompt ids, token ids and log-probs."""
    prompt: int | None
    """How many bytes; None (in all three) where there is no reply."""
    token: int | None
    logprob: int | None
    group: int = 0
    view: str = ""
    finish: Literal["stop", "length", "error", ""] = ""
    counted: bool = False
    """Whether its usage is known and is just its tokens: what own models report."""
    more: More = _NOTHING_MORE

    @property
    def tokens(self) -> Usage:
        """How many tokens were read and written."""
        return Usage((self.prompt or 0) // 4, (self.token or 0) // 4)

    def blobs(self, numbers: bytes) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Return prompt ids, token ids and log-probs as bytes."""
        found = []
        at = self.at
        for size in (self.prompt, self.token, self.logprob):
            found.append(None if size is None else numbers[at : at + size])
            at += size or 0
        return (found[0], found[1], found[2])


_decode = msgspec.json.Decoder(list[Line]).decode


def written(utterances: Iterable[Utterance]) -> tuple[bytes, bytes]:
    """Return the JSON of the lines of an episode, and its numbers.

    Raises:
        ValueError: ids beyond 32 bits, lone surrogates, numbers that are not finite.
    """
    lines: list[tuple[Any, ...]] = []
    chunks: list[bytes] = []
    at = 0
    for u in utterances:
        reply = u.reply
        if reply is None:
            none = (None, None, None)
            silent = (u.turn, u.seat, u.text, "", at, *none, u.group, u.view, "", False)
            lines.append((*silent, _more(u)) if u.repair else silent)
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
            at,
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
        ):
            line = (*line, _more(u, counted=counted))
        lines.append(line)
        chunks.append(packed(ids, new_ids, logprobs))
        at += prompt + token + logprob
    return _encode(lines), b"".join(chunks)


def read(said: str) -> list[Line]:
    """Return the lines that lie in ``episodes.said``.

    Raises:
        ValueError: it is no list of lines.
    """
    return _decode(said)


def utterances(said: str, numbers: bytes) -> Iterator[Utterance]:
    """Yield the utterances that `written` made JSON and bytes of."""
    for line in _decode(said):
        more = line.more
        prompt_ids, token_ids, logprobs = line.blobs(numbers)
        reply = None
        if prompt_ids is not None:
            reply = Reply(
                line.text if more.raw is None else more.raw,
                more.thought,
                more.tool_calls,
                integers(prompt_ids),
                integers(token_ids),
                floats(logprobs),
                line.finish,
                line.tokens if line.counted else more.usage,
                line.policy,
                more.error,
            )
        yield Utterance(
            line.seat, line.turn, line.group, line.text, reply, more.repair, line.view
        )


def _more(said: Utterance, *, counted: bool = False) -> msgspec.Raw:
    reply = said.reply
    if reply is None:
        return msgspec.Raw(to_json(More(said.repair)))
    raw = None if reply.text == said.text else reply.text
    usage = None if counted else reply.usage
    more = More(said.repair, raw, reply.thought, reply.tool_calls, usage, reply.error)
    return msgspec.Raw(to_json(more))


def rows(said: str, numbers: bytes) -> Sequence[Row]:
    """Return (turn, seat, text, prompt ids, token ids, log-probs, policy), ids as bytes."""
    return [
        (line.turn, line.seat, line.text, *line.blobs(numbers), line.policy)
        for line in _decode(said)
    ]
