"""Agents around other agents: best of n, an ensemble of critics, a persona."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any, Literal

from msgspec.structs import replace

from superalign_agents.references import make_agent
from superalign_env.asking import Anyone, ask, waits
from superalign_env.canonical import content_hash
from superalign_env.errors import InvalidOption, InvalidVerdict
from superalign_env.protocols import Agent
from superalign_env.seeding import label, mix
from superalign_env.types import AgentSpec, Fault, Message, Reply, Usage, Verdict, View
from superalign_env.verdicts import parse, to_form

How = Literal["mean", "median"]

_SAMPLE_SEED = label("best-of")


class BestOf:
    """Self-consistency: the most frequent of n answers, of equally frequent ones the first.

    More thinking at the same weights, hence a level of capability that costs no training
    (Wang et al. 2022, arXiv 2203.11171). Answer k is drawn with a seed that the view's own
    seed gives, so that a transcript does not depend on the rest of the batch. Answers that
    failed count only where all did. The usage of all is recorded with the chosen one.

    Args:
        agent: who is asked: a reference or an agent that samples.
        n: how often.

    Raises:
        UnknownId: nobody is called so.
        InvalidOption: fewer than one answer, an agent that waits for each reply, or a
            greedy one, whose answers would all be the same.
    """

    def __init__(self, agent: str | Mapping[str, Any] | Agent, n: int = 5) -> None:
        if type(n) is not int or n < 1:
            raise InvalidOption(
                f"best-of needs a whole number of answers from 1, not {n!r}"
            )
        made = make_agent(agent)
        if waits(made) or not isinstance(made, Agent):
            raise InvalidOption(
                f"best-of asks whole batches, and {made.spec.id} waits for each reply; put "
                "an agent with weights of its own behind it"
            )
        if n > 1 and getattr(made, "temperature", None) == 0:
            raise InvalidOption(
                f"{made.spec.id} is greedy and says {n} times the same; give it a "
                "temperature above 0, or leave best_of out"
            )
        self._agent, self._n = made, n

    @property
    def spec(self) -> AgentSpec:
        """The agent behind it, and how often it is asked."""
        inner = self._agent.spec
        options = {"agent": {"id": inner.id, **inner.options}, "n": self._n}
        return AgentSpec("best-of", options, inner.policy)

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return one reply per view, in order."""
        asked = [
            replace(view, seed=mix(view.seed, _SAMPLE_SEED, k))
            for view in views
            for k in range(self._n)
        ]
        replies = self._agent.act(asked)
        return [
            _most_frequent(replies[start : start + self._n])
            for start in range(0, len(asked), self._n)
        ]


class EnsembleCritic:
    """Several critics as one: mean or median score, confidence by their agreement.

    The confidence is 1 minus the distance of the highest score from the lowest: where
    critics disagree it is unsure, however sure they are themselves. It claims the faults
    that most of them claim. A critic that fails, or says no verdict, is left out of that
    one; where none is left it fails itself.

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
        """The members, and how their scores are combined."""
        specs = [member.spec for member in self._members]
        members = [{"id": spec.id, **spec.options} for spec in specs]
        options = {"members": members, "how": self._how, "quorum": self._quorum}
        weights = [spec.policy for spec in specs]
        return AgentSpec("ensemble", options, content_hash(weights) if any(weights) else "")

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return one verdict per view; each member is asked once for all of them."""
        by_member = [
            ask(member, [replace(view, seed=mix(view.seed, place)) for view in views])
            for place, member in enumerate(self._members)
        ]
        return [
            self._combined(view, replies)
            for view, replies in zip(views, zip(*by_member, strict=True), strict=True)
        ]

    def _combined(self, view: View, replies: Sequence[Reply]) -> Reply:
        verdicts = [
            verdict for reply in replies if (verdict := _verdict_of(reply)) is not None
        ]
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
            _majority_faults(verdicts),
        )
        return Reply(
            to_form(verdict, view.form), finish="stop", usage=_total_usage(replies)
        )


class PersonaCritic:
    """A chat agent with a persona as its system message, in any seat.

    A critic judges, a supervisor answers as the persona would. It knows what the model
    knows, and stands for nobody in particular.

    Args:
        agent: who speaks: an agent reference, or an agent. Best a chat model; other models
            read the persona as the first lines of their text.
        persona: who it is, in words: "You are a nurse who …".
        name: what it is called in records, beside the model.

    Raises:
        InvalidOption: an empty persona.
    """

    def __init__(
        self,
        agent: str | Mapping[str, Any] | Anyone,
        *,
        persona: str,
        name: str = "",
    ) -> None:
        if not persona.strip():
            raise InvalidOption("a persona needs words: persona='You are …'")
        self._agent = make_agent(agent)
        self._persona = persona.strip()
        self._name = name

    @property
    def spec(self) -> AgentSpec:
        """The agent, and the persona that it speaks as."""
        inner = self._agent.spec
        options = {"agent": {"id": inner.id, **inner.options}, "persona": self._persona}
        if self._name:
            options["name"] = self._name
        return AgentSpec("persona", options, inner.policy)

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return what the agent says as the persona."""
        return ask(self._agent, [self._with_persona(view) for view in views])

    def _with_persona(self, view: View) -> View:
        """Return a view that begins with the persona; a system message joins it."""
        messages = view.messages
        if messages:
            system = self._persona
            if messages[0].role == "system":
                system, messages = f"{system}\n\n{messages[0].content}", messages[1:]
            messages = (Message("system", system), *messages)
        text = f"{self._persona}\n\n{view.text}"
        return replace(view, text=text, messages=messages)


def _most_frequent(replies: Sequence[Reply]) -> Reply:
    """Return the reply whose text is the most frequent, with the usage of all of them."""
    valid = [reply for reply in replies if not reply.error] or list(replies)
    (text, _), *_ = Counter(reply.text for reply in valid).most_common()
    chosen = next(reply for reply in valid if reply.text == text)
    usage = _total_usage(replies)
    return replace(chosen, usage=usage) if usage is not None else chosen


def _verdict_of(reply: Reply) -> Verdict | None:
    if reply.error:
        return None
    try:
        return parse(reply.text)
    except InvalidVerdict:
        return None


def _majority_faults(verdicts: Sequence[Verdict]) -> tuple[Fault, ...]:
    """Return a fault of each kind that more than half claim, the most claimed first."""
    first: dict[str, Fault] = {}
    counts: Counter[str] = Counter()
    for verdict in verdicts:
        for fault in verdict.faults:
            first.setdefault(fault.kind, fault)
        counts.update({fault.kind for fault in verdict.faults})
    kinds = [kind for kind in first if 2 * counts[kind] > len(verdicts)]
    return tuple(first[kind] for kind in sorted(kinds, key=lambda kind: -counts[kind]))


def _total_usage(replies: Sequence[Reply]) -> Usage | None:
    """Return the summed usage; None where no reply has any."""
    usages = [reply.usage for reply in replies if reply.usage is not None]
    if not usages:
        return None
    return Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        sum(usage.dollars for usage in usages),
    )
