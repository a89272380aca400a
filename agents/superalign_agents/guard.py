"""A language model as a guard: a critic whose output has a form of its own."""

from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import Any

import msgspec
from msgspec.structs import replace

from superalign_agents.chat_messages import ControlText, counted
from superalign_agents.guard_forms import (
    MARKS,
    GuardForm,
    GuardReading,
    ReadFunction,
    check_prompt,
    form_of,
    reader_by,
    reader_of,
    verdict_of,
)
from superalign_agents.keyword import exchange, most_within, without_middle
from superalign_agents.references import make_agent
from superalign_agents.sampling import UNREADABLE
from superalign_env.asking import Anyone, ask
from superalign_env.errors import InvalidOption
from superalign_env.plain_text import one_line
from superalign_env.registry import entries
from superalign_env.types import AgentSpec, Message, Reply, Verdict, View
from superalign_env.verdicts import to_form

_INERT, _TRUNCATED = "prompt.made-inert", "prompt.truncated"

_LEAST_MASS = 0.01
"""Less probability of both deciding words together means that neither was to be said."""

_SLACK = 8
"""Tokens that a prompt may be longer than the sum of its parts."""

_ANSWER_SHARE = 4
"""A long request leaves one token in so many to the answer."""


class GuardCritic:
    """Critic whose verdict is read from what a language model says in its own form.

    Of `llama-guard` that is ``unsafe`` and a line of categories, of `wildguard` three lines,
    and so on; the page of agents lists the forms. The score is what the output says, the
    confidence the probability of its deciding word; with `odds` the score is a probability
    itself. Where an output cannot be read the seat gives no verdict: the text is handed on as
    no verdict, and the note ``reply.unreadable`` counts it. A model is asked greedily unless its
    reference names a temperature. Of an exchange over a local model's context the middle of the
    answer is left out, then that of the request.

    Args:
        model: who is asked: an agent reference (a folder, ``hf:org/name``,
            ``endpoint:model``), or an agent.
        form: name of a form, a mapping with its fields, or a function from the output to a
            score, a `Verdict`, or None where it cannot be read.
        prompt: words of the task instead of the form's, with ``{request}`` and ``{answer}``;
            ``exchange`` hands request and answer over as messages, for models whose chat
            template writes the task.
        answers: role whose latest turn is judged.

    Raises:
        UnknownId: no such form.
        InvalidOption: a form that reads nothing, or a prompt without both sides.
    """

    def __init__(
        self,
        model: str | Mapping[str, Any] | Anyone,
        *,
        form: str | Mapping[str, Any] | GuardForm | ReadFunction = "llama-guard",
        prompt: str = "",
        answers: str = "learner",
    ) -> None:
        if callable(form):
            self._form = GuardForm(read=f"{form.__module__}:{form.__qualname__}")
            self._read = reader_by(form, fault=self._form.fault)
        else:
            self._form = form_of(form)
            self._read = reader_of(self._form)
        if prompt != "exchange":
            check_prompt(prompt)
        self._agent = make_agent(_greedy(model))
        self._answers = answers
        self._prompt = prompt or self._form.prompt
        if not prompt and _writes(self._agent, self._form.template):
            self._prompt = "exchange"
        self._as_exchange = self._prompt in ("", "exchange")
        self._marks = ControlText(() if self._as_exchange else MARKS, ignore_case=True)
        self._options = {
            "form": form if isinstance(form, str) else _plain(self._form),
            "prompt": prompt,
            "answers": answers,
        }
        self._odds: _Odds | None = None
        if self._form.odds and hasattr(self._agent, "batch_prompt_ids"):
            self._odds = _Odds(self._agent, self._form.odds)
        self._base_tokens = -1

    @property
    def spec(self) -> AgentSpec:
        """The model, the form of its output, and what it is asked."""
        inner = self._agent.spec
        model = {"id": inner.id, **inner.options}
        return AgentSpec("guard", {"model": model, **self._options}, inner.policy)

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return one verdict per view; score 0.5 and confidence 0 where there is no answer."""
        exchanges = [exchange(view, self._answers) for view in views]
        with_answer = [n for n, (_, answer) in enumerate(exchanges) if answer]
        asked, notes = [], []
        for n in with_answer:
            prompt, counts = self._asked(views[n], *exchanges[n])
            asked.append(prompt)
            notes.append(counts)
        answered = (
            (self._odds.replies(asked) if self._odds else ask(self._agent, asked))
            if asked
            else []
        )
        result = [
            Reply(to_form(Verdict(0.5, 0.0), view.form), finish="stop") for view in views
        ]
        for n, reply, counts in zip(with_answer, answered, notes, strict=True):
            result[n] = self._judged(views[n], reply, counts)
        return result

    def _judged(self, view: View, reply: Reply, counts: Mapping[str, int]) -> Reply:
        """Return the reply of the seat: a verdict, an error, or an output that is unread."""
        if reply.error:
            return Reply("", finish="error", policy=reply.policy, error=reply.error)
        reading = self._read(reply.text.strip())
        notes = {**reply.notes}
        for kind, count in (*counts.items(), (UNREADABLE, int(reading is None))):
            notes[kind] = notes.get(kind, 0) + count
        if reading is None:
            # It must not look like a verdict: the guard has given none.
            text = f"guard says: {one_line(reply.text, 200)}"
        else:
            text = to_form(self._with_confidence(reading, reply), view.form)
        return Reply(
            text,
            thought=reply.thought,
            finish="stop",
            usage=reply.usage,
            policy=reply.policy,
            notes=counted(notes),
        )

    def _with_confidence(self, reading: GuardReading, reply: Reply) -> Verdict:
        """Return the verdict with the probability of its deciding word, where it is known."""
        verdict = reading.verdict
        if self._odds is not None and reply.logprobs:
            probability = exp(reply.logprobs[0])
            score = probability if verdict.score > 0.5 else 1.0 - probability
            return verdict_of(score, self._form.fault, confidence=abs(2.0 * score - 1.0))
        place = -1 if reading.sure else self._deciding_token(reading.end, reply)
        if 0 <= place < len(reply.logprobs):
            return replace(verdict, confidence=min(1.0, exp(reply.logprobs[place])))
        return verdict

    def _deciding_token(self, end: int, reply: Reply) -> int:
        """Return the place of the token with which the deciding word ends, or −1.

        A server tells no tokens: there it is known for outputs that are one word.
        """
        text = reply.text.strip()
        tokenizer = getattr(self._agent, "tokenizer", None)
        if tokenizer is None or not reply.token_ids:
            return 0 if end and len(text.split()) == 1 else -1
        if not end or reply.thought:  # its tokens come first
            return -1
        word = text[:end].split()[-1]
        for place in range(len(reply.token_ids)):
            said = str(tokenizer.decode(reply.token_ids[: place + 1])).strip()
            if len(said) >= end and word in said:
                return place
        return -1

    def _asked(self, view: View, request: str, answer: str) -> tuple[View, dict[str, int]]:
        """Return the view of the guard, and what was done to the exchange."""
        (request, first), (answer, second) = map(self._marks.inert, (request, answer))
        request, answer, dropped = self._fitted(view, request, answer)
        counts = counted({_INERT: first + second, _TRUNCATED: dropped})
        return self._guards_view(view, request, answer), counts

    def _guards_view(self, view: View, request: str, answer: str) -> View:
        if self._as_exchange:
            messages = [Message("user", request), Message("assistant", answer)]
            text = f"{request}\n\n{answer}\n\n"
        else:
            # One pass: a request may hold the other placeholder.
            before, _, rest = self._prompt.partition("{request}")
            between, _, after = rest.partition("{answer}")
            text = f"{before}{request}{between}{answer}{after}"
            messages = [Message("user", text)]
        return View(
            view.episode,
            view.case,
            view.seat,
            view.role,
            view.turn,
            view.seed,
            text,
            tuple(messages),
            max_new_tokens=self._form.max_new_tokens,
        )

    def _fitted(self, view: View, request: str, answer: str) -> tuple[str, str, int]:
        """Return request and answer within a local model's context, and tokens left out."""
        tokenizer = getattr(self._agent, "tokenizer", None)
        ids_of = getattr(self._agent, "batch_prompt_ids", None)
        if tokenizer is None or ids_of is None:
            return request, answer, 0

        def tokens(text: str) -> list[int]:
            ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)[
                "input_ids"
            ]
            return ids

        if self._base_tokens < 0:
            self._base_tokens = len(ids_of([self._guards_view(view, ".", ".")])[0])
        context = int(self._agent.max_context)  # type: ignore[union-attr]  # it is local
        room = context - self._form.max_new_tokens - self._base_tokens - _SLACK
        before = len(tokens(request)) + len(tokens(answer))
        if before <= room or room <= 0:
            return request, answer, 0
        least = max(room // _ANSWER_SHARE, room - len(tokens(request)))
        answer = _shortened(answer, least, tokens)
        request = _shortened(request, room - len(tokens(answer)), tokens)
        return request, answer, before - len(tokens(request)) - len(tokens(answer))


class _Odds:
    """Probabilities of two words as the next token of a local model's prompt.

    Args:
        agent: a transformer agent.
        words: of a bad and of a good answer.

    Raises:
        InvalidOption: the tokenizer begins both words with the same token.
    """

    def __init__(self, agent: Any, words: tuple[str, str]) -> None:
        from superalign_agents.batching import BatchSplitter  # noqa: PLC0415 - torch takes seconds

        self._agent = agent
        self._words = words
        bad, good = (self._first_tokens(word) for word in words)
        self._tokens = sorted(bad - good), sorted(good - bad)
        if not all(self._tokens):
            raise InvalidOption(
                f"the tokenizer of {agent.reference} begins {words[0]!r} and {words[1]!r} with "
                "the same token; take other words, or a form without odds"
            )
        self._splitter = BatchSplitter(agent.batch, name=agent.reference)

    def replies(self, views: Sequence[View]) -> list[Reply]:
        """Return the likelier word of each view, with its log-probability against the other."""
        return self._splitter.map(self._batch, views)

    def _first_tokens(self, word: str) -> set[int]:
        tokenizer = self._agent.tokenizer
        spellings = (f"{space}{w}" for space in ("", " ") for w in (word, word.lower()))
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in spellings]
        return {int(row[0]) for row in ids if row}

    def _batch(self, views: Sequence[View]) -> list[Reply]:
        import torch  # noqa: PLC0415 - takes seconds

        from superalign_agents.prefill import prefill  # noqa: PLC0415 - as above

        rows = self._agent.batch_prompt_ids(views)
        reply = Reply(
            "",
            finish="error",
            error=f"{self._agent.reference} has no room for the exchange",
        )
        replies = [reply] * len(views)
        readable = [n for n, row in enumerate(rows) if row]
        if not readable:
            return replies
        with torch.inference_mode():
            logits = prefill(self._agent.model, [rows[n] for n in readable], room=1).logits
            every = logits.double().log_softmax(-1)
            bad, good = (every[:, tokens].logsumexp(-1) for tokens in self._tokens)
            both = torch.logaddexp(bad, good)
        for place, n in enumerate(readable):
            pair = (float(bad[place]), float(good[place]))
            likelier = int(pair[1] > pair[0])
            said = exp(float(both[place])) >= _LEAST_MASS
            replies[n] = Reply(
                self._words[likelier] if said else "neither word",
                logprobs=(pair[likelier] - float(both[place]),),
                finish="stop",
                policy=self._agent.policy,
            )
        return replies


def _shortened(text: str, limit: int, tokens: Callable[[str], list[int]]) -> str:
    kept = most_within(lambda n: tokens(without_middle(text, n)), len(text), limit)
    return without_middle(text, kept)


def _greedy(model: Any) -> Any:
    """Return a model's reference with temperature 0, unless it names one or takes none."""
    if isinstance(model, str):
        model = {"id": model}
    if not isinstance(model, Mapping) or "temperature" in model:
        return model
    name = str(model.get("id", ""))
    kind = name.partition(":")[0]
    samples = kind in ("hf", "endpoint", "transformer") or (
        ":" not in name and name not in entries("agent")
    )
    return {**model, "temperature": 0.0} if samples else model


def _writes(agent: Any, word: str) -> bool:
    """Whether a model's chat template writes a word of the guard's task by itself.

    The template of a server is not known; the form's word is then believed.
    """
    if not word:
        return False
    tokenizer = getattr(agent, "tokenizer", None)
    if tokenizer is None:
        return str(agent.spec.id) == "endpoint"
    if not hasattr(agent, "batch_prompt_ids") or not tokenizer.chat_template:
        return False
    pair = (Message("user", "."), Message("assistant", "."))
    view = View("", 0, "critic_0", "critic", 0, 0, ".", pair)
    (ids,) = agent.batch_prompt_ids([view])
    return word.casefold() in str(tokenizer.decode(ids)).casefold()


def _plain(form: GuardForm) -> dict[str, Any]:
    """Return the fields of a form that say something, as plain values."""
    fields: dict[str, Any] = msgspec.to_builtins(form)
    usual = msgspec.to_builtins(GuardForm())
    return {name: value for name, value in fields.items() if value != usual[name]}
