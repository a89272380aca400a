"""Training rows of episodes (trajectories): ids, masks and rewards of a seat's turns.

Rows hold recorded token ids, never re-tokenised text. Pay is settled from the paid parts
of the rewards; grades (what the truth says) are never read.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from math import isfinite
from typing import Literal, NamedTuple

from superalign_agents.sampling import NOT_TRAINED
from superalign_env.errors import InvalidOption
from superalign_env.rewards import ADDED, HumanPay, by_episode, settle
from superalign_env.types import Episode, Reply, Seat, Signal, Utterance

Origin = Literal["live", "stored", "late"]
"""Said by the newest weights; by earlier ones; or by earlier ones and paid only the difference
that a late answer of people makes. What earlier ones said is weighed by its likelihood now, and
a difference is measured against no baseline: what else was paid has been learned from."""

Failed = Literal["leave-out", "keep"]
"""What becomes of episodes that failed."""


class Row(NamedTuple):
    """Some turns of one seat in one episode: token ids, masks, log-probs and rewards."""

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
    spans: tuple[tuple[int, int], ...]
    """Where each turn's own tokens begin and end within the completion."""
    logprobs: tuple[float, ...]
    """As recorded when sampled; 0 at tokens of the environment."""
    turn_rewards: tuple[float, ...]
    """Settled pay of each turn. What the seat earns at turns that left no tokens counts
    for its latest turn that did."""
    to_go: float
    """Settled pay from the row's first turn to the end of the episode."""
    policy: str
    """Content hash of the weights that spoke."""
    origin: Origin = "live"
    paid_before: tuple[float, ...] = ()
    """Of a late row: what each turn was paid to the end of the episode before the answer."""

    @property
    def reward(self) -> float:
        """Settled reward of the row's turns."""
        return sum(self.turn_rewards)

    @property
    def turns_to_go(self) -> tuple[float, ...]:
        """Settled reward from each turn to the end of the episode."""
        sums = accumulate(self.turn_rewards, initial=0.0)
        return tuple(
            self.to_go - before for before, _ in zip(sums, self.turns, strict=False)
        )


def learnable(rows: Iterable[Row]) -> list[Row]:
    """Return the rows with at least one token to learn.

    Raises:
        InvalidOption: pay that is no finite number, or words without a prompt; the message
            names the episode.
    """
    usable = []
    for row in rows:
        if not any(row.env_mask):
            continue
        for turn, pay in zip(row.turns, row.turns_to_go, strict=True):
            if not isfinite(pay):
                raise InvalidOption(
                    f"episode {row.episode} pays {row.seat} {pay} from turn {turn} on, which "
                    "is no number to learn from; mend the scenario's reward or leave the "
                    "episode out"
                )
        if not row.prompt_ids:
            raise InvalidOption(
                f"episode {row.episode}: {row.seat} spoke at turn {row.turns[0]} without a "
                "prompt; record prompt_ids with every reply"
            )
        usable.append(row)
    return usable


def training_rows(
    episodes: Iterable[Episode],
    seat: Seat,
    signals: Iterable[Signal] = (),
    *,
    rules: HumanPay = ADDED,
    failed: Failed = "leave-out",
) -> list[Row]:
    """Return the rows of one seat, in the order of the episodes.

    An episode gives one row where each prompt extends what came before it, token by
    token; where one does not (a chat template that drops earlier thoughts, a cut
    context) a new row begins. Turns without token ids give no row, nor do those whose
    log-probabilities are of a masked or truncated distribution (`left_out`).

    Args:
        episodes: finished ones.
        seat: whose rows.
        signals: labels, preferences and vetoes; those about other episodes are ignored.
        rules: how they are paid.
        failed: whether those in which an agent failed are left out, or count as far as they
            went. They were paid in part: beside others, an outage looks like a merit.
    """
    signals_of = by_episode(signals)
    return [
        row
        for episode in episodes
        if failed == "keep" or not episode.failed
        for pay in [settled(episode, signals_of.get(episode.id, ()), rules)]
        for row in _rows(episode, seat, pay)
    ]


def left_out(episodes: Iterable[Episode], seats: Collection[Seat]) -> dict[str, int]:
    """Return how many turns of some seats gave no row, by the note that says why.

    Trainers recompute log-probabilities of the whole distribution. Those of replies that
    were sampled under a form or with top_p are of another one.
    """
    counts: Counter[str] = Counter()
    for episode in episodes:
        for u in episode.utterances:
            if u.seat in seats and u.reply is not None:
                counts.update(NOT_TRAINED.intersection(u.reply.notes))
    return dict(sorted(counts.items()))


def late_rows(
    episode: Episode,
    seat: Seat,
    before: Iterable[Signal],
    after: Iterable[Signal],
    rules: HumanPay,
) -> list[Row]:
    """Return the rows of one seat, rewarded by a difference; arguments as in `difference`."""
    earlier = list(before)
    changes = difference(episode, earlier, after, rules)
    rows_before = _rows(episode, seat, settled(episode, earlier, rules))
    return [
        row._replace(origin="late", paid_before=then.turns_to_go)
        for row, then in zip(_rows(episode, seat, changes), rows_before, strict=True)
    ]


def settled(
    episode: Episode, signals: Iterable[Signal], rules: HumanPay = ADDED
) -> dict[tuple[Seat, int], float]:
    """Return the reward of every turn of an episode; see `superalign_env.rewards.settle`."""
    return settle(
        episode.rewards,
        episode.weights,
        authors={u.turn: u.seat for u in episode.utterances},
        signals=signals,
        judged=episode.judged,
        rules=rules,
    )


def difference(
    episode: Episode, before: Iterable[Signal], after: Iterable[Signal], rules: HumanPay
) -> dict[tuple[Seat, int], float]:
    """Return turn → change in its reward by further signals, where it changes.

    Args:
        episode: that all of them are about (`superalign_env.rewards.by_episode`).
        before: signals that have paid already.
        after: these and the further ones.
        rules: how they are paid.
    """
    earlier, later = settled(episode, before, rules), settled(episode, after, rules)
    places = [*later, *(place for place in earlier if place not in later)]
    changes = {p: later.get(p, 0.0) - earlier.get(p, 0.0) for p in places}
    return {place: change for place, change in changes.items() if change}


def _rows(episode: Episode, seat: Seat, pay: Mapping[tuple[Seat, int], float]) -> list[Row]:
    spoken = [
        (u, u.reply) for u in episode.utterances if u.seat == seat and u.reply is not None
    ]
    spoken = [
        (u, reply)
        for u, reply in spoken
        if reply.prompt_ids and reply.token_ids and NOT_TRAINED.isdisjoint(reply.notes)
    ]
    if not spoken:
        return []
    earned = pay_by_turn(pay, seat, [turn.turn for turn, _ in spoken])
    rows: list[Row] = []
    piece: list[tuple[Utterance, Reply]] = []
    for turn, reply in spoken:
        if piece and not _extends(_read(piece), reply.prompt_ids):
            rows.append(_row(episode, seat, piece, earned))
            piece = []
        piece.append((turn, reply))
    rows.append(_row(episode, seat, piece, earned))
    return rows


def pay_by_turn(
    pay: Mapping[tuple[Seat, int], float], seat: Seat, turns: Sequence[int]
) -> dict[int, float]:
    """Return the reward of each of a seat's turns, up to its next one.

    What was earned before the first of them is owed to no word that could be learned.
    """
    earned = dict.fromkeys(turns, 0.0)
    for (payee, turn), value in pay.items():
        latest = bisect_right(turns, turn)
        if payee == seat and latest:
            earned[turns[latest - 1]] += value
    return earned


def _read(piece: Sequence[tuple[Utterance, Reply]]) -> tuple[int, ...]:
    """Return every token up to the end of the piece's last reply."""
    reply = piece[-1][1]
    return reply.prompt_ids + reply.token_ids


def _extends(earlier: tuple[int, ...], prompt: tuple[int, ...]) -> bool:
    return prompt[: len(earlier)] == earlier


def _row(
    episode: Episode,
    seat: Seat,
    piece: Sequence[tuple[Utterance, Reply]],
    earned: Mapping[int, float],
) -> Row:
    prompt = piece[0][1].prompt_ids
    ids: tuple[int, ...] = ()
    mask: tuple[int, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    logprobs: tuple[float, ...] = ()
    for _, reply in piece:
        between = reply.prompt_ids[len(prompt) + len(ids) :]
        own_ids = reply.token_ids
        ids += between + own_ids
        spans += ((len(ids) - len(own_ids), len(ids)),)
        mask += (0,) * len(between) + (1,) * len(own_ids)
        logprobs += (0.0,) * len(between) + (reply.logprobs or (0.0,) * len(own_ids))
    first_turn = piece[0][0].turn
    return Row(
        episode=episode.id,
        case=episode.key.case,
        member=episode.key.member,
        seat=seat,
        turns=tuple(u.turn for u, _ in piece),
        prompt_ids=prompt,
        completion_ids=ids,
        env_mask=mask,
        spans=spans,
        logprobs=logprobs,
        turn_rewards=tuple(earned[u.turn] for u, _ in piece),
        to_go=sum(value for turn, value in earned.items() if turn >= first_turn),
        policy=piece[0][1].policy,
    )
