"""Candidate questions to people about a batch of episodes."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

from msgspec.structs import replace

from superalign_env.canonical import text_hash
from superalign_env.humans.selection import Candidate
from superalign_env.types import (
    Episode,
    EpisodeKey,
    Question,
    Role,
    Seat,
    Signal,
    Utterance,
    role_of,
)
from superalign_training.selfplay.driver import StageContext


class QuestionCandidates(NamedTuple):
    """Candidate questions to people about a batch."""

    turns: list[Candidate]
    pairs: list[Candidate]
    """Two turns of one seat in one episode, the earlier one first."""
    members: list[Candidate]
    """One turn of one seat in two members of a case that read and said the same before it.
    The words decide which one is first, so that nothing tells which member it is."""

    @property
    def episodes(self) -> int:
        """Number of episodes with candidates."""
        return len({candidate.episode for candidate in self.turns})

    @property
    def unpaired(self) -> int:
        """Number of turns without a comparable turn of another member."""
        paired = {place for candidate in self.members for place in _places(candidate)}
        return sum(
            (candidate.episode, candidate.turn) not in paired for candidate in self.turns
        )

    def without(self, questions: Iterable[Question]) -> "QuestionCandidates":
        """Return the candidates about turns that no question is about yet."""
        taken = {place for question in questions for place in _places(question)}
        return QuestionCandidates(
            *(
                [candidate for candidate in kind if not _places(candidate) & taken]
                for kind in self
            )
        )


def _places(question: Question | Candidate) -> set[tuple[str, int]]:
    """Return the (episode, turn) pairs of a question."""
    return {
        (question.episode, question.turn),
        (question.versus_episode or question.episode, question.versus),
    }


class _Turn(NamedTuple):
    """One candidate turn."""

    episode: str
    utterance: Utterance
    scores: Mapping[str, float]
    """Who judged it → score."""

    @property
    def mean(self) -> float:
        """Mean score; 0.5 without any."""
        scores = list(self.scores.values())
        return sum(scores) / len(scores) if scores else 0.5


def question_candidates(
    episodes: Sequence[Episode], seats: Sequence[Seat], *, members: bool = False
) -> QuestionCandidates:
    """Return the candidate questions about the turns of some seats, or judged by them.

    Where turns are judged, these are all turns of seats that are judged and learn, or that
    are judged by whoever learns, readable verdict or not; where nobody judges, the last turn
    of each seat that learns.

    Args:
        episodes: of one batch; failed ones are left out.
        seats: that learn.
        members: whether members of a case are compared.
    """
    finished = [episode for episode in episodes if not episode.failed]
    judges = _judges(finished)
    judged_seats = {
        seat for seat, critics in judges.items() if seat in seats or critics & {*seats}
    }
    candidates = QuestionCandidates([], [], [])
    alike: dict[tuple[object, ...], list[_Turn]] = {}
    for episode in finished:
        scores: dict[int, dict[str, float]] = {}
        for fact in episode.judged:
            if fact.score is not None:
                scores.setdefault(fact.about, {})[fact.seat] = fact.score
        last_turns = {u.seat: u for u in episode.utterances}
        turns = [u for u in episode.utterances if u.seat in judged_seats]
        if not judges:
            turns = [last_turns[seat] for seat in seats if seat in last_turns]
        spoken = [_Turn(episode.id, u, scores.get(u.turn, {})) for u in turns]
        _add(candidates, spoken)
        for turn in spoken if members else ():
            alike.setdefault(_shared_history(episode, turn.utterance), []).append(turn)
    candidates.members.extend(
        _pair(*sorted(pair, key=_order))
        for same in alike.values()
        for pair in combinations(same, 2)
        if pair[0].utterance.text != pair[1].utterance.text
    )
    return candidates


def _shared_history(episode: Episode, utterance: Utterance) -> tuple[object, ...]:
    """Return a key that is equal for members with the same view at a turn.

    Rules draw from the case alone, so what was said before decides what is shown.
    """
    before = [(u.seat, u.text) for u in episode.utterances if u.group < utterance.group]
    return (case_of(episode.key), utterance.seat, utterance.turn, *before)


def case_of(key: EpisodeKey) -> EpisodeKey:
    """Return the key of an episode's case, without its member."""
    return replace(key, member=0)


def _order(turn: _Turn) -> str:
    return text_hash(f"{turn.episode}\0{turn.utterance.text}")


def _judges(episodes: Sequence[Episode]) -> dict[Seat, set[Seat]]:
    """Return seat → seats that judged its turns, over the batch."""
    judges: dict[Seat, set[Seat]] = {}
    for episode in episodes:
        spoken = {u.turn: u.seat for u in episode.utterances}
        for fact in episode.judged:
            if fact.about in spoken:
                judges.setdefault(spoken[fact.about], set()).add(fact.seat)
    return judges


def _add(candidates: QuestionCandidates, turns: Sequence[_Turn]) -> None:
    """Add the turns of one episode, and pairs of them."""
    by_seat: dict[Seat, list[_Turn]] = {}
    for turn in turns:
        words = text_hash(turn.utterance.text)
        candidates.turns.append(
            Candidate(turn.episode, turn.utterance.turn, turn.scores, words=words)
        )
        by_seat.setdefault(turn.utterance.seat, []).append(turn)
    candidates.pairs.extend(
        _pair(*pair) for seat_turns in by_seat.values() for pair in pairwise(seat_turns)
    )


def _pair(first: _Turn, second: _Turn) -> Candidate:
    """Return the candidate comparison of two turns."""
    return Candidate(
        first.episode,
        first.utterance.turn,
        # As one source that is sure of the pair where its scores are apart.
        {"apart": 0.5 + (first.mean - second.mean) / 2},
        second.utterance.turn,
        text_hash(f"{first.utterance.text}\0{second.utterance.text}"),
        second.episode if second.episode != first.episode else None,
    )


def training_signals(context: StageContext) -> list[Signal]:
    """Return people's standing signals up to the stage's begin, for training.

    Answers of the random slice are for evaluation and left out; a veto always counts.
    """
    signals = context.run.signals.standing(upto=context.signals_to)
    random = random_slice(context)
    return [
        signal
        for signal in signals
        if signal.kind == "veto" or signal.question not in random
    ]


def random_slice(context: StageContext) -> set[str]:
    """Return the questions of the evaluation slice, which are never trained on."""
    return {q.id for q in context.run.questions.all() if q.slice == "random"}


class VetoedText(NamedTuple):
    """A vetoed text, with the prompts and answers before it."""

    text: str
    answers: frozenset[str]
    """The task, and all that was said before them in their episode."""


def vetoed(context: StageContext, role: Role) -> list[VetoedText]:
    """Return the vetoed texts of a role up to the stage's begin.

    It must not be imitated, wherever else it was said.
    """
    places: dict[str, set[int]] = {}
    for signal in context.run.signals.standing(kind="veto", upto=context.signals_to):
        places.setdefault(signal.episode, set()).add(signal.turn)
    names = _recorded(context, sorted(places))
    return [
        VetoedText(
            u.text,
            frozenset(
                [
                    episode.task.prompt,
                    *[
                        earlier.text
                        for earlier in episode.utterances
                        if earlier.group < u.group
                    ],
                ]
            ),
        )
        for episode in context.run.named(names)
        for u in episode.utterances
        if u.turn in places[episode.id] and role_of(u.seat) == role
    ]


def _recorded(context: StageContext, names: Sequence[str]) -> list[str]:
    """Return the names of recorded episodes; vetoes of proposals name none."""
    recorded = set(context.run.episode_ids()) if names else set()
    return [name for name in names if name in recorded]
