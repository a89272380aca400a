"""What people can be asked about a batch of episodes."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from superalign_env.canonical import text_hash
from superalign_env.humans.selection import Candidate
from superalign_env.types import Episode, Question, Seat, Utterance


class Askable(NamedTuple):
    """What people can be asked about a batch."""

    turns: list[Candidate]
    pairs: list[Candidate]
    """Two turns of one seat in one episode, the earlier one first."""

    @property
    def episodes(self) -> int:
        """Episodes with something to ask about."""
        return len({one.episode for one in self.turns})

    def without(self, asked: Iterable[Question]) -> "Askable":
        """Return what is left when nobody is asked twice about one episode's turn."""
        gone = {(q.episode, turn) for q in asked for turn in (q.turn, q.versus)}
        return Askable(
            *(
                [c for c in kind if not {(c.episode, c.turn), (c.episode, c.versus)} & gone]
                for kind in self
            )
        )


def askable(episodes: Sequence[Episode], seats: Sequence[Seat]) -> Askable:
    """Return the turns that people can be asked about, for the sake of some seats.

    Where turns are judged, these are all turns of seats that are judged and learn, or that
    are judged by whoever learns, readable verdict or not; where nobody judges, the last turn
    of each seat that learns.

    Args:
        episodes: of one batch; failed ones are left out.
        seats: that learn.
    """
    whole = [episode for episode in episodes if not episode.failed]
    judges = _judges(whole)
    asked = {
        seat for seat, critics in judges.items() if seat in seats or critics & {*seats}
    }
    found = Askable([], [])
    for episode in whole:
        scores: dict[int, dict[str, float]] = {}
        for fact in episode.judged:
            if fact.score is not None:
                scores.setdefault(fact.about, {})[fact.seat] = fact.score
        last = {u.seat: u for u in episode.utterances}
        turns = [u for u in episode.utterances if u.seat in asked]
        if not judges:
            turns = [last[seat] for seat in seats if seat in last]
        _add(found, episode.id, turns, scores)
    return found


def _judges(episodes: Sequence[Episode]) -> dict[Seat, set[Seat]]:
    """Return seat → who judged its turns, wherever in the batch."""
    judges: dict[Seat, set[Seat]] = {}
    for episode in episodes:
        spoken = {u.turn: u.seat for u in episode.utterances}
        for fact in episode.judged:
            if fact.about in spoken:
                judges.setdefault(spoken[fact.about], set()).add(fact.seat)
    return judges


def _add(
    found: Askable,
    episode: str,
    turns: Sequence[Utterance],
    scores: Mapping[int, Mapping[str, float]],
) -> None:
    for u in turns:
        said = scores.get(u.turn, {})
        found.turns.append(Candidate(episode, u.turn, said, words=text_hash(u.text)))
    by_seat: dict[Seat, list[Utterance]] = {}
    for u in turns:
        by_seat.setdefault(u.seat, []).append(u)
    for one, other in (pair for own in by_seat.values() for pair in pairwise(own)):
        means = [_mean(scores.get(u.turn, {}).values()) for u in (one, other)]
        # As one source that is sure of the pair where its scores are apart.
        sure = {"apart": 0.5 + (means[0] - means[1]) / 2}
        words = text_hash(f"{one.text}\0{other.text}")
        found.pairs.append(Candidate(episode, one.turn, sure, other.turn, words))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.5
