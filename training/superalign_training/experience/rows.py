"""Training rows from recorded episodes.

Rows hold recorded token ids, never re-tokenised text. Pay is settled from the paid parts
of the rewards; grades (what the truth says) are never read.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from superalign_env.rewards import settle, verdicts_of
from superalign_env.types import Episode, Reply, Seat, Signal, Utterance


class Row(NamedTuple):
    """Some turns of one seat in one episode, as a trainer wants them."""

    episode: str
    case: int
    member: int
    seat: Seat
    turns: tuple[int, ...]
    """The seat's turns in this row."""
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    """Own tokens, and between turns what the environment said."""
    env_mask: tuple[int, ...]
    """1 for an own token, 0 for a token of the environment."""
    logprobs: tuple[float, ...]
    """As recorded when sampled; 0 at tokens of the environment."""
    turn_rewards: tuple[float, ...]
    """Settled pay of each turn."""
    to_go: float
    """Settled pay from the row's first turn to the end of the episode."""
    policy: str
    """Content hash of the weights that spoke."""

    @property
    def reward(self) -> float:
        """Settled pay of the row's turns."""
        return sum(self.turn_rewards)


def training_rows(
    episodes: Iterable[Episode], seat: Seat, signals: Iterable[Signal] = ()
) -> list[Row]:
    """Return the rows of one seat, in the order of the episodes.

    An episode gives one row where each prompt extends what came before it, token by
    token; where one does not (a chat template that drops earlier thoughts, a cut
    context) a new row begins. Turns without token ids give no row.

    Args:
        episodes: finished ones; those that failed count as far as they went.
        seat: whose rows.
        signals: labels and vetoes; those about other episodes are ignored.
    """
    by_episode: Mapping[str, list[Signal]] = _grouped(signals)
    return [
        row
        for episode in episodes
        for row in _rows(episode, seat, by_episode.get(episode.id, ()))
    ]


def _grouped(signals: Iterable[Signal]) -> dict[str, list[Signal]]:
    grouped: dict[str, list[Signal]] = defaultdict(list)
    for signal in signals:
        grouped[signal.episode].append(signal)
    return grouped


def _rows(episode: Episode, seat: Seat, signals: Sequence[Signal]) -> list[Row]:
    spoken = [
        (u, u.reply) for u in episode.utterances if u.seat == seat and u.reply is not None
    ]
    spoken = [(u, reply) for u, reply in spoken if reply.prompt_ids and reply.token_ids]
    if not spoken:
        return []
    pay = settle(
        episode.rewards,
        episode.weights,
        authors={u.turn: u.seat for u in episode.utterances},
        signals=signals,
        verdicts=verdicts_of(episode.events),
    )
    rows: list[Row] = []
    piece: list[tuple[Utterance, Reply]] = []
    for turn, reply in spoken:
        if piece and not _extends(_read(piece), reply.prompt_ids):
            rows.append(_row(episode, seat, piece, pay))
            piece = []
        piece.append((turn, reply))
    rows.append(_row(episode, seat, piece, pay))
    return rows


def _read(piece: Sequence[tuple[Utterance, Reply]]) -> tuple[int, ...]:
    """Return every token up to the end of the piece's last reply."""
    last = piece[-1][1]
    return last.prompt_ids + last.token_ids


def _extends(earlier: tuple[int, ...], prompt: tuple[int, ...]) -> bool:
    return prompt[: len(earlier)] == earlier


def _row(
    episode: Episode,
    seat: Seat,
    piece: Sequence[tuple[Utterance, Reply]],
    pay: Mapping[tuple[Seat, int], float],
) -> Row:
    prompt = piece[0][1].prompt_ids
    ids: tuple[int, ...] = ()
    mask: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    for _, reply in piece:
        heard = reply.prompt_ids[len(prompt) + len(ids) :]
        said = reply.token_ids
        ids += heard + said
        mask += (0,) * len(heard) + (1,) * len(said)
        logprobs += (0.0,) * len(heard) + (reply.logprobs or (0.0,) * len(said))
    first = piece[0][0].turn
    return Row(
        episode=episode.id,
        case=episode.key.case,
        member=episode.key.member,
        seat=seat,
        turns=tuple(u.turn for u, _ in piece),
        prompt_ids=prompt,
        completion_ids=ids,
        env_mask=mask,
        logprobs=logprobs,
        turn_rewards=tuple(pay.get((seat, u.turn), 0.0) for u, _ in piece),
        to_go=sum(
            value for (who, turn), value in pay.items() if who == seat and turn >= first
        ),
        policy=piece[0][1].policy,
    )
