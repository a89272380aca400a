"""Episodes to learn from: on-policy rollouts, or stored ones with importance weights."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

from msgspec.structs import replace

from superalign_env.errors import InvalidOption
from superalign_env.rewards import ADDED, HumanPay, by_episode, paid, settle
from superalign_env.store import Run, Where, standing
from superalign_env.types import Episode, EpisodeKey, Paid, Reply, Seat, Signal, View
from superalign_training.data.rows import Row, pay_by_turn, training_rows

PlayCases = Callable[[int, int], Sequence[Row]]
"""(first case, how many cases) → the policy's rows of all plays of those cases."""


class Experience(Protocol):
    """Episodes to learn from, live or stored."""

    @property
    def play(self) -> PlayCases:
        """Rollout of further cases, as rows."""
        ...

    @property
    def cap(self) -> float | None:
        """Limit of the importance weights of off-policy rows (rho-bar of V-trace).

        None: all rows are on-policy and nothing is weighed. Else `Row.origin` says which
        rows are.
        """
        ...


class Live(NamedTuple):
    """Rollouts of the newest policy."""

    play: PlayCases
    cap: float | None = None
    """On-policy rows need no importance weights; late answers bring back older rows."""


class TokenPolicy(Protocol):
    """Reference and tokenizer of a policy; stored episodes must match both."""

    @property
    def reference(self) -> str:
        """Its name in records."""
        ...

    @property
    def tokenizer(self) -> Any:
        """A Hugging Face tokenizer."""
        ...


class Stored:
    """Stored episodes, case by case, repeated from the first after the last.

    Each turn has a truncated importance weight: its probability now over its probability
    when it was sampled, at most `cap`.

    Args:
        cases: rows of each case, with the log-probs of when they were sampled.
        cap: limit of importance weights (rho-bar).

    Raises:
        InvalidOption: no cases, or a cap that is not positive.
    """

    def __init__(self, cases: Sequence[Sequence[Row]], *, cap: float = 2.0) -> None:
        if not cases:
            raise InvalidOption(
                "there are no recorded episodes to learn from; look at `superalign ls`, and "
                "choose a seat, stage or round that was played"
            )
        if not cap > 0:
            raise InvalidOption(
                f"importance weights cannot be cut off at {cap}; give cap=2"
            )
        self.cap = cap
        self._cases = cases

    @classmethod
    def from_run(
        cls,
        run: Run,
        seat: Seat,
        policy: TokenPolicy,
        *,
        now: tuple[int, int],
        staleness: int = 1,
        cap: float = 2.0,
        signals: Iterable[Signal] = (),
        where: Where | None = None,
    ) -> Self:
        """Return stored episodes of a run that a policy can learn from.

        Args:
            run: opened, to read at least.
            seat: whose turns.
            policy: who shall learn from them.
            now: generation and round in which it learns.
            staleness: how many rounds ago an episode may have been played.
            cap: limit of importance weights.
            signals: labels and vetoes, ``run.signals.read()``. What was taken back and
                labels of the random slice are left out.
            where: which episodes; all of the seat's if not given.

        Raises:
            InvalidOption: there are none, or some that the policy cannot learn from: spoken
                by something else, without log-probabilities, or too long ago.
        """
        random = {q.id for q in run.questions.all() if q.slice == "random"}
        labels = by_episode(
            signal
            for signal in standing(signals)
            if signal.question not in random or signal.kind == "veto"
        )
        cases: dict[EpisodeKey, list[Row]] = defaultdict(list)
        usable = EpisodeCheck(seat, policy, now=now, staleness=staleness)
        query: Where = {**(where or {}), "seat": seat}
        for episode in run.episodes(**query):
            usable.check(episode)
            key = episode.key
            case = EpisodeKey(key.run, key.generation, key.round, key.case)
            cases[case] += training_rows([episode], seat, labels[episode.id])
        return cls([rows for rows in cases.values() if rows], cap=cap)

    def __len__(self) -> int:
        return len(self._cases)

    def play(self, first: int, count: int) -> list[Row]:
        """Return the rows of further cases; after the last comes the first again.

        Args:
            first: number of a case, counted on through all rounds of the record.
            count: how many; never one twice.
        """
        places = range(first, first + min(count, len(self._cases)))
        return [
            row._replace(case=place, origin="stored")
            for place in places
            for row in self._cases[place % len(self._cases)]
        ]


class EpisodeCheck:
    """Check whether a policy can learn from stored episodes.

    Args:
        seat: whose turns are learned from.
        policy: who learns.
        now: generation and round in which it learns.
        staleness: how many rounds ago an episode may have been played.
    """

    def __init__(
        self, seat: Seat, policy: TokenPolicy, *, now: tuple[int, int], staleness: int
    ) -> None:
        self._seat = seat
        self._policy = policy
        self._now = now
        self._staleness = staleness
        self._read: set[str] = set()
        """Hashes of policies whose words are known to be made of this tokenizer's tokens."""

    def check(self, episode: Episode) -> None:
        """Raise where a policy cannot learn from an episode.

        Raises:
            InvalidOption: says why, and what to do.
        """
        self._check_age(episode)
        self._check_speaker(episode)
        for reply in _replies(episode, self._seat):
            if len(reply.logprobs) != len(reply.token_ids):
                raise InvalidOption(
                    f"{episode.id} holds no log-probabilities of what {self._seat} said, so "
                    "it cannot be weighed; learn from live play, or record with an agent "
                    "that gives them"
                )
            if reply.policy not in self._read:
                self._check_tokens(episode, reply)
                self._read.add(reply.policy)

    def _check_age(self, episode: Episode) -> None:
        generation, current = self._now
        age = current - episode.key.round
        if episode.key.generation != generation or not 0 <= age <= self._staleness:
            raise InvalidOption(
                f"{episode.id} is of generation {episode.key.generation}, round "
                f"{episode.key.round}; in round {current} of generation {generation} only "
                f"the last {self._staleness} rounds are fresh enough: choose later ones "
                "(where={'round': …}), or raise staleness"
            )

    def _check_speaker(self, episode: Episode) -> None:
        speaker = episode.seats[self._seat]
        if speaker.id != self._policy.reference:
            raise InvalidOption(
                f"in {episode.id} {self._seat} was {speaker.id}, but "
                f"{self._policy.reference} shall learn: its words have other tokens and "
                "other likelihoods; choose episodes of the same family (where={'agent': …})"
            )
        if speaker.options.get("temperature") == 0:
            raise InvalidOption(
                f"in {episode.id} {self._seat} always took the likeliest token (temperature "
                "0), so nothing says how else it could have gone; learn from sampled play"
            )

    def _check_tokens(self, episode: Episode, reply: Reply) -> None:
        tokenizer = self._policy.tokenizer
        in_vocabulary = max(reply.prompt_ids + reply.token_ids) < len(tokenizer)
        text = tokenizer.decode(list(reply.token_ids), skip_special_tokens=True)
        if not in_vocabulary or str(text).strip() != reply.text.strip():
            raise InvalidOption(
                f"the tokens of {episode.id} mean something else to the tokenizer of "
                f"{self._policy.reference}: {str(text)[:40]!r} instead of "
                f"{reply.text[:40]!r}; learn with the tokenizer that it was recorded with"
            )


def _replies(episode: Episode, seat: Seat) -> Iterator[Reply]:
    for utterance in episode.utterances:
        reply = utterance.reply
        if utterance.seat == seat and reply is not None and reply.token_ids:
            yield reply


Shown = Callable[[Episode, Seat], Mapping[int, View]]
"""(episode, seat) → turn of the episode → what the seat was shown."""


class PaidExperience(NamedTuple):
    """Rollouts of a learner, with the settled reward of each turn."""

    play: Callable[[int, int], Sequence[Paid]]
    """(first case, how many cases) → every seat's turns in all members of those cases."""


def paid_episodes(
    episodes: Iterable[Episode],
    seats: Iterable[Seat],
    views_of: Shown,
    signals: Iterable[Signal] = (),
    *,
    rules: HumanPay = ADDED,
) -> list[Paid]:
    """Return the turns and settled rewards of seats, in the order of the episodes.

    Those in which an agent failed are left out, as in training rows, and so are seats that
    never spoke. What only the truth says (grades, events, what was planted, which
    queries were valid, parts that are not paid) is left out of the record.

    Args:
        episodes: finished ones.
        seats: whose.
        views_of: what a seat was shown.
        signals: what people said; signals about other episodes are ignored.
        rules: how it is paid.
    """
    signals_of = by_episode(signals)
    result = []
    names = list(seats)
    for episode in episodes:
        if episode.failed:
            continue
        pay = settle(
            episode.rewards,
            episode.weights,
            authors={utterance.turn: utterance.seat for utterance in episode.utterances},
            signals=signals_of.get(episode.id, ()),
            judged=episode.judged,
            rules=rules,
        )
        public = _public(episode)
        for seat in names:
            views = dict(views_of(episode, seat))
            if views:
                earned = pay_by_turn(pay, seat, sorted(views))
                result.append(Paid(public, seat, earned, views))
    return result


def _public(episode: Episode) -> Episode:
    rewards = [r for r in episode.rewards if paid(r, episode.weights) is not None]
    return replace(
        episode, grades=(), events=(), planted=(), queries=(), rewards=tuple(rewards)
    )
