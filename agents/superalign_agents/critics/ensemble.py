"""Several critics who speak as one, and are as sure as they agree."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any, Literal

import msgspec

from superalign_agents.references import make_agent
from superalign_env.asking import Anyone, ask
from superalign_env.canonical import content_hash
from superalign_env.errors import InvalidOption, InvalidVerdict
from superalign_env.seeding import mix
from superalign_env.types import AgentSpec, Fault, Reply, Usage, Verdict, View
from superalign_env.verdicts import parse, to_json_text, to_words

How = Literal["mean", "median"]


class EnsembleCritic:
    """Asks several critics and gives one verdict.

    Its score is the mean or the median of theirs. Its confidence is what their scores have
    in common, 1 minus the distance of the highest from the lowest: where critics disagree
    it is unsure, however sure they are themselves. It claims the faults that most of them
    claim. A critic that fails, or says no verdict, is left out of that one; where none is
    left it fails itself.

    Args:
        members: at least two critics: agent references, or agents.
        how: ``mean`` or ``median`` of the scores.
        quorum: least share of the members that must give a verdict.

    Raises:
        InvalidOption: fewer than two members, or a quorum that is no share.
    """

    def __init__(
        self,
        members: Sequence[str | Mapping[str, Any] | Anyone],
        *,
        how: How = "mean",
        quorum: float = 0.5,
    ) -> None:
        if isinstance(members, str) or len(members) < 2:
            raise InvalidOption(
                "an ensemble needs a list of at least two critics: members=['keyword', …]"
            )
        if how not in ("mean", "median") or not 0.0 <= quorum <= 1.0:
            raise InvalidOption(
                f"needs how='mean' or 'median' and quorum in [0, 1], not {how!r} and {quorum}"
            )
        self._members = [make_agent(member) for member in members]
        self._how = how
        self._quorum = quorum

    @property
    def spec(self) -> AgentSpec:
        """The members, and what is made of their scores."""
        specs = [member.spec for member in self._members]
        members = [{"id": spec.id, **spec.options} for spec in specs]
        options = {"members": members, "how": self._how, "quorum": self._quorum}
        weights = [spec.policy for spec in specs]
        return AgentSpec("ensemble", options, content_hash(weights) if any(weights) else "")

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return one verdict per view; each member is asked once for all of them."""
        heard = [
            ask(member, [_as_seen_by(view, place) for view in views])
            for place, member in enumerate(self._members)
        ]
        return [
            self._together(view, replies)
            for view, replies in zip(views, zip(*heard, strict=True), strict=True)
        ]

    def _together(self, view: View, replies: Sequence[Reply]) -> Reply:
        verdicts = [verdict for reply in replies if (verdict := _read(reply)) is not None]
        if not verdicts or len(verdicts) < self._quorum * len(replies):
            errors = [reply.error for reply in replies if reply.error]
            why = f"; the first failure: {errors[0]}" if errors else ""
            return Reply(
                "",
                finish="error",
                error=f"only {len(verdicts)} of {len(replies)} critics gave a verdict{why}",
            )
        scores = [verdict.score for verdict in verdicts]
        verdict = Verdict(
            fmean(scores) if self._how == "mean" else median(scores),
            1.0 - (max(scores) - min(scores)),
            _common(verdicts),
        )
        text = to_json_text(verdict) if view.form == "json-schema" else to_words(verdict)
        return Reply(text, finish="stop", usage=_cost(replies))


def _as_seen_by(view: View, place: int) -> View:
    """Return the view with random numbers of a member's own."""
    return msgspec.structs.replace(view, seed=mix(view.seed, place))


def _read(reply: Reply) -> Verdict | None:
    if reply.error:
        return None
    try:
        return parse(reply.text)
    except InvalidVerdict:
        return None


def _common(verdicts: Sequence[Verdict]) -> tuple[Fault, ...]:
    """Return a fault of each kind that more than half claim, the most claimed first."""
    first: dict[str, Fault] = {}
    counts: Counter[str] = Counter()
    for verdict in verdicts:
        for fault in verdict.faults:
            first.setdefault(fault.kind, fault)
        counts.update({fault.kind for fault in verdict.faults})
    kinds = [kind for kind in first if 2 * counts[kind] > len(verdicts)]
    return tuple(first[kind] for kind in sorted(kinds, key=lambda kind: -counts[kind]))


def _cost(replies: Sequence[Reply]) -> Usage | None:
    spent = [reply.usage for reply in replies if reply.usage is not None]
    if not spent:
        return None
    return Usage(
        sum(one.prompt_tokens for one in spent),
        sum(one.completion_tokens for one in spent),
        sum(one.dollars for one in spent),
    )
