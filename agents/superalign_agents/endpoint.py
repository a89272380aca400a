"""A model behind any OpenAI-compatible server: vLLM, Ollama, `transformers serve`, hosted."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from superalign_agents.chat_completions import (
    Dialect,
    asked,
    complains_of_roles,
    request,
    simpler,
)
from superalign_agents.chat_messages import THINK, ThoughtMarks, checked_marks
from superalign_agents.completion_bodies import Prices, price_of, read_reply
from superalign_agents.connection import (
    LOCAL_URL,
    Secret,
    is_loopback,
    key_for,
    openai_client,
)
from superalign_agents.sampling import (
    CONSTRAINED,
    TRUNCATED_SAMPLING,
    Constrained,
    checked_mode,
    checked_sampling,
    unreadable,
)
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_env.plain_text import one_line
from superalign_env.types import AgentSpec, Reply, ToolCall, Usage, View

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_REFUSAL_STATUSES = (400, 422, 501)
"""Statuses of a server that understood a request and does not take some field of it."""

_MAX_REASON = 300
"""Longest reason in a reply's error, in characters."""

_MAX_COMPLAINT = 20_000
"""Characters of a server's error that are looked at."""


class CostLedger(msgspec.Struct, frozen=True):
    """Number, tokens and dollars of an agent's replies; ledgers add up."""

    replies: int = 0
    """Replies that were asked for, failed ones included; attempts are not counted."""
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    """By the price table; 0 without one."""

    def __add__(self, other: "CostLedger") -> "CostLedger":
        return CostLedger(
            self.replies + other.replies,
            self.failures + other.failures,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.dollars + other.dollars,
        )

    @classmethod
    def of(cls, usage: Usage | None) -> "CostLedger":
        """Return the ledger of one reply; a reply without usage counts as no tokens."""
        usage = usage or Usage()
        return cls(1, 0, usage.prompt_tokens, usage.completion_tokens, usage.dollars)

    @classmethod
    def of_failure(cls) -> "CostLedger":
        """Return the ledger of one reply that failed."""
        return cls(replies=1, failures=1)


class _Session:
    """One client and its concurrency limit, open while any of its replies is under way."""

    def __init__(self, client: "AsyncOpenAI", max_concurrency: int) -> None:
        self.client = client
        self.semaphore = asyncio.Semaphore(max_concurrency)
        self.users = 0


class EndpointAgent:
    """Agent behind a chat-completions server; a failed request is a reply with an error.

    Rate limits, server errors and lost connections are retried with back-off; what
    remains becomes a reply with an error. Optional request fields that the server
    refuses are left out from then on, and a system message that its template refuses
    joins the first user message. Control tokens of published models in anybody's text are
    made inert. A reply is as reproducible as the server is: the view's seed is passed
    along.

    Args:
        model: as the server calls it.
        base_url: of the API, ``/v1`` included. Loopback traffic never uses a proxy.
        api_key_env: environment variable that holds the key; needed for every server
            that is not on this machine. The key itself is nowhere recorded.
        temperature: of sampling.
        top_p: share of probability that is sampled from, the likeliest tokens first.
        max_new_tokens: longest reply, in tokens, where the view allows more.
        stop: texts that end a reply; most servers take up to four.
        constrained: whether the server is asked for the menu or JSON schema of a view:
            ``auto`` and ``always`` ask in the best way that it knows.
        max_concurrency: requests under way at once.
        timeout: seconds for one attempt; a reply gets ``retries + 1`` times as many.
        retries: attempts after the first.
        prices: model → dollars per million prompt and completion tokens.
        extra_body: more fields of every request, such as
            ``{"return_token_ids": True, "min_p": 0.05}`` for vLLM.
        thought_marks: pairs of texts between which the model thinks: what stands between
            them is private and no part of its utterance.

    Raises:
        InvalidOption: no key, or settings that make no sense.
    """

    def __init__(  # noqa: PLR0913 - one knob each; a settings object would only hide them
        self,
        model: str,
        *,
        base_url: str = LOCAL_URL,
        api_key_env: str = "",
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_new_tokens: int | None = None,
        stop: Sequence[str] = (),
        constrained: Constrained = "auto",
        max_concurrency: int = 16,
        timeout: float = 60.0,
        retries: int = 4,
        prices: Prices | None = None,
        extra_body: Mapping[str, Any] | None = None,
        thought_marks: ThoughtMarks = THINK,
    ) -> None:
        _require_sense(model, temperature, max_concurrency, timeout, retries)
        self._local = is_loopback(base_url)
        self._key = key_for(base_url, api_key_env)
        self._secret = Secret(self._key)
        self._marks = checked_marks(thought_marks)
        self._sampling = checked_sampling(
            top_p=top_p, max_new_tokens=max_new_tokens, stop=stop
        )
        self._constrained = checked_mode(constrained)
        self._model = model
        self._base_url = base_url
        self._temperature = temperature
        self._max_concurrency = max_concurrency
        self._timeout = timeout
        self._retries = retries
        self._price = price_of(model, prices or {})
        self._extra_body = dict(extra_body or {})
        self._dialect = Dialect()
        self._ledger = CostLedger()
        self._sessions: dict[asyncio.AbstractEventLoop, _Session] = {}
        own: dict[str, Any] = {
            **self._sampling.options,
            **({"thought_marks": self._marks} if self._marks != THINK else {}),
            **({"constrained": constrained} if constrained != "auto" else {}),
        }
        self._spec = AgentSpec(
            "endpoint",
            {
                "model": model,
                "base_url": base_url,
                "api_key_env": api_key_env,
                "temperature": temperature,
                "max_concurrency": max_concurrency,
                "timeout": timeout,
                "retries": retries,
                "prices": {name: list(price) for name, price in (prices or {}).items()},
                "extra_body": self._extra_body,
                **own,
            },
        )

    @property
    def spec(self) -> AgentSpec:
        """All settings; of the key only the variable's name."""
        return self._spec

    @property
    def ledger(self) -> CostLedger:
        """Cost of all replies so far."""
        return self._ledger

    async def reply(self, view: View) -> Reply:
        """Return the server's reply to one view, or the reason why there is none."""
        from openai import OpenAIError  # noqa: PLC0415 - half a second to import

        try:
            async with self._session() as session, session.semaphore:
                async with asyncio.timeout(self._timeout * (self._retries + 1)):
                    reply = await self._ask(session.client, view)
        except TimeoutError:
            return self._failed(
                f"timeout: {self._retries + 1} × {self._timeout:g} s have passed"
            )
        except OpenAIError as error:
            return self._failed(f"{type(error).__name__}: {error}")
        except Exception as error:  # whatever a hostile answer makes a library raise
            return self._failed(f"malformed answer: {error}")
        self._ledger += CostLedger.of(reply.usage)
        return reply

    def state_dict(self) -> dict[str, Any]:
        """Return the ledger as plain JSON values."""
        return {"ledger": msgspec.to_builtins(self._ledger)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the ledger.

        Raises:
            RecordDamaged: the state is none of an endpoint agent.
        """
        try:
            self._ledger = msgspec.convert(state["ledger"], CostLedger)
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise RecordDamaged(
                f"this is no state of an endpoint agent ({error}); use what state_dict returned"
            ) from error

    async def _ask(self, client: "AsyncOpenAI", view: View) -> Reply:
        """Ask in the known dialect, then in ever simpler ones while the server refuses."""
        from openai import APIStatusError  # noqa: PLC0415 - half a second to import

        dialect = self._dialect
        view = self._sampling.capped(view)
        if self._constrained == "never":
            dialect = replace(dialect, structured="none")
        while True:
            prompt = asked(view, dialect)
            body = request(
                self._model,
                view,
                dialect,
                prompt,
                temperature=self._temperature,
                sampling=self._sampling,
            )
            try:
                answer = await client.chat.completions.with_raw_response.create(
                    **body, extra_body=self._extra_body
                )
            except APIStatusError as error:
                complaint = f"{getattr(error, 'param', '')} {error}"[:_MAX_COMPLAINT]
                lower = None
                if error.status_code in _REFUSAL_STATUSES or (
                    # A template that raises is an error of the server to some of them.
                    error.status_code == 500 and complains_of_roles(body, complaint)
                ):
                    lower = simpler(dialect, body, complaint)
                if lower is None:
                    raise
                dialect = lower
            else:
                # Only a dialect that worked is remembered: the cause of a refusal may
                # have been the view, a prompt too long for instance.
                self._dialect = dialect
                reply = read_reply(
                    answer.content, view, price=self._price, marks=self._marks
                )
                truncates = self._sampling.truncates and self._temperature > 0
                notes = prompt.notes | unreadable(view, reply.text)
                if reply.token_ids and "response_format" in body:
                    notes[CONSTRAINED] = 1
                if reply.token_ids and truncates:
                    notes[TRUNCATED_SAMPLING] = 1
                return self._without_key(replace(reply, notes=notes))

    def _without_key(self, reply: Reply) -> Reply:
        """Return a reply in none of whose words the key stands."""
        if not self._key:
            return reply
        return replace(
            reply,
            text=self._secret.removed_from(reply.text),
            thought=self._secret.removed_from(reply.thought),
            policy=self._secret.removed_from(reply.policy),
            tool_calls=tuple(
                msgspec.convert(
                    self._secret.removed_from_values(msgspec.to_builtins(call)), ToolCall
                )
                for call in reply.tool_calls
            ),
        )

    def _failed(self, reason: str) -> Reply:
        self._ledger += CostLedger.of_failure()
        reason = self._secret.removed_from(reason[:_MAX_COMPLAINT])
        where = f"{self._model} at {self._base_url}"
        return Reply("", finish="error", error=f"{where}: {one_line(reason, _MAX_REASON)}")

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[_Session]:
        """Share one client between all replies under way in this event loop.

        A client belongs to its loop, and nobody tells an agent when a loop is about to
        end: so the last one out closes it, and no socket is left open.
        """
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = self._sessions[loop] = _Session(self._client(), self._max_concurrency)
        session.users += 1
        try:
            yield session
        finally:
            session.users -= 1
            if not session.users:
                del self._sessions[loop]
                await session.client.close()

    def _client(self) -> "AsyncOpenAI":
        return openai_client(
            self._base_url,
            self._key,
            local=self._local,
            timeout=self._timeout,
            retries=self._retries,
        )


def _require_sense(
    model: str, temperature: float, max_concurrency: int, timeout: float, retries: int
) -> None:
    """Refuse settings that make no sense, and a machine without the package."""
    if not model:
        raise InvalidOption("model must name a model of the server")
    if max_concurrency < 1 or retries < 0 or not 0 < timeout < float("inf"):
        raise InvalidOption(
            "needs max_concurrency ≥ 1, retries ≥ 0 and timeout > 0 seconds"
        )
    if not 0 <= temperature < float("inf"):
        raise InvalidOption(f"temperature must be a number ≥ 0, not {temperature}")
    if importlib.util.find_spec("openai") is None:
        raise InvalidOption("endpoints need: pip install 'superalign-env[endpoints]'")
