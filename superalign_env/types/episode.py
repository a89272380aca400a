"""Types of one episode: views, replies, rewards, events, the record.

All types are frozen msgspec structs: as strict as frozen dataclasses, an order of
magnitude cheaper to make (the environment makes several for every turn), and their
JSON round trip is exact. Every field is written, defaults too: msgspec would recognise
a default by its identity, and equal values would have two JSON forms.
"""

from typing import Any, Literal, NamedTuple

import msgspec

from superalign_env.plain_text import inline, one_line
from superalign_env.types.identity import AgentSpec, EpisodeKey, Role, Seat, Task
from superalign_env.types.judgement import Grade, Judged, Planted, Query


class Message(msgspec.Struct, frozen=True, gc=False):
    """One chat message, as chat templates want it."""

    role: Literal["system", "user", "assistant", "tool"]
    """As chat templates name it."""
    content: str
    """Its text."""


class ToolSpec(msgspec.Struct, frozen=True, gc=False):
    """A tool that a seat may call."""

    name: str
    """As calls name it."""
    description: str = ""
    """What it does, for the model."""
    parameters: dict[str, Any] = {}
    """JSON schema of the arguments."""


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """One call of a tool, as an agent wrote it."""

    name: str
    """Of a tool that the view offers."""
    arguments: dict[str, Any] = {}
    """Plain JSON values."""
    id: str = ""
    """As a server gave it; empty elsewhere."""


class Turn(msgspec.Struct, frozen=True, gc=False):
    """One earlier utterance or tool result, as a view shows it."""

    author: Seat
    """Who said it."""
    text: str
    """What was said."""
    tool: str = ""
    """Name of the tool whose result this is; empty for speech."""


class Brief(msgspec.Struct, frozen=True, gc=False):
    """Content that a scenario shows one seat. The Game stamps it into a `View`."""

    text: str
    """Everything the seat reads, as one plain text that ends where it shall speak."""
    messages: tuple[Message, ...] = ()
    """The same as chat messages; append-only within an episode."""
    turns: tuple[Turn, ...] = ()
    """The same, structured."""
    tools: tuple[ToolSpec, ...] = ()
    """What the seat may call."""
    form: Literal["free", "choices", "json-schema"] = "free"
    """What the reply must look like; endpoints constrain decoding with it."""
    schema: dict[str, Any] | None = None
    """JSON schema of the reply where `form` says so."""
    menu: tuple[str, ...] = ()
    """Public candidate utterances, for search and for numeric agents."""
    max_new_tokens: int = 64
    """How many tokens a model may spend on the reply."""


class View(msgspec.Struct, frozen=True, gc=False):
    """Observation of one seat when it is asked to speak."""

    episode: str
    """Unique within a run; state of stateful agents is keyed by it."""
    case: int
    """Which task and which draws of the rules; several episodes may play one case."""
    seat: Seat
    """Who is asked, ``critic_1``."""
    role: Role
    """What for, ``critic``."""
    turn: int
    """How often the seat has spoken before. Not the index of the utterance that is asked
    for, which would tell how many turns others took unseen."""
    seed: int
    """63 bits; all randomness of the reply comes from here."""
    text: str
    messages: tuple[Message, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    form: Literal["free", "choices", "json-schema"] = "free"
    schema: dict[str, Any] | None = None
    menu: tuple[str, ...] = ()
    max_new_tokens: int = 64


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens and price of a reply."""

    prompt_tokens: int = 0
    """Tokens read."""
    completion_tokens: int = 0
    """Tokens written."""
    dollars: float = 0.0
    """As the server bills it; 0 at home."""


class Reply(msgspec.Struct, frozen=True, gc=False):
    """Answer of an agent to a view."""

    text: str
    """What is said: any text without NUL and lone surrogates."""
    thought: str = ""
    """Private: in no other seat's view unless the scenario says so."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Tools that are called, of those that the view offers."""
    prompt_ids: tuple[int, ...] = ()
    """What the model read, as token ids: training needs no second tokenisation."""
    token_ids: tuple[int, ...] = ()
    """Sampled ids, end-of-turn token included when it was sampled."""
    logprobs: tuple[float, ...] = ()
    """Natural logarithms, one per id of `token_ids`, at the sampling temperature."""
    finish: Literal["stop", "length", "error", ""] = ""
    """Why the text ends where it does."""
    usage: Usage | None = None
    """What it cost."""
    policy: str = ""
    """Content hash of the weights that spoke."""
    error: str = ""
    """Why there is no proper reply. The episode then ends as failed."""
    notes: dict[str, int] = {}
    """What was done to the prompt, or how the text was found: kind of event → how much, such as
    ``prompt.truncated`` → tokens. Each becomes an event of the episode."""


class Utterance(msgspec.Struct, frozen=True, gc=False):
    """One reply as the rules take it: checked, repaired if need be, and placed."""

    seat: Seat
    """Who spoke."""
    turn: int
    """Place among all utterances of the episode, from 0."""
    group: int
    """Which group of simultaneous speakers it belongs to, from 0."""
    text: str
    """As the rules saw it."""
    reply: Reply | None = None
    repair: str = ""
    """Why the text was changed before the rules saw it; empty when it was not."""
    view: str = ""
    """Content hash of the view that was answered."""


class Reward(msgspec.Struct, frozen=True, gc=False):
    """One named part of a seat's pay for one turn. Totals are never stored."""

    seat: Seat
    """Who is paid."""
    part: str
    """Name of the part; a scenario gives each one its weight."""
    value: float
    """Before the weight."""
    turn: int = -1
    """The turn that earned it. −1 from a scenario means the seat's latest turn."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """A recorded occurrence that is neither speech nor pay."""

    kind: str
    """Dotted: ``text.repaired``, ``agent.failed``, ``gate.rolled-back``."""
    seat: Seat = ""
    """Whom it concerns; empty for everybody."""
    turn: int = -1
    """−1 from a scenario means the seat's latest turn, if it names one."""
    evidence: dict[str, Any] = {}
    """What shows it: plain JSON values."""


class Ending(msgspec.Struct, frozen=True, gc=False):
    """How an episode ended."""

    kind: Literal["terminated", "truncated", "failed"]
    """As the rules foresee it, cut off by a limit, or because an agent failed."""
    reason: str = ""
    """Why, where the kind does not say it all."""

    @classmethod
    def terminated(cls, reason: str = "") -> "Ending":
        """Return the ending that the rules foresee."""
        return cls("terminated", reason)

    @classmethod
    def truncated(cls, reason: str) -> "Ending":
        """Return an ending by a limit."""
        return cls("truncated", reason)

    @classmethod
    def failed(cls, reason: str) -> "Ending":
        """Return the ending of an episode in which an agent failed: data, not a crash."""
        return cls("failed", reason)


class Step(msgspec.Struct, frozen=True, gc=False):
    """Outcome of the utterances of one group under the rules."""

    state: Any
    """After the words; never the old state, changed."""
    rewards: tuple[Reward, ...] = ()
    grades: tuple[Grade, ...] = ()
    events: tuple[Event, ...] = ()
    ending: Ending | None = None
    judged: tuple[Judged, ...] = ()
    planted: tuple[Planted, ...] = ()
    queries: tuple[Query, ...] = ()


class Episode(msgspec.Struct, frozen=True, gc=False):
    """The record of one play: everything needed to read, replay and train on it."""

    id: str
    """Unique within a run."""
    scenario: str
    """Versioned id, ``red-team-v0``."""
    task: Task
    key: EpisodeKey
    seats: dict[Seat, AgentSpec]
    utterances: tuple[Utterance, ...]
    rewards: tuple[Reward, ...]
    ending: Ending
    options: dict[str, Any] = {}
    """Constructor arguments of the scenario."""
    renderer: str = ""
    """Name, version and hash of the templates."""
    source: str = ""
    """Id of the task source."""
    grades: tuple[Grade, ...] = ()
    events: tuple[Event, ...] = ()
    judged: tuple[Judged, ...] = ()
    planted: tuple[Planted, ...] = ()
    queries: tuple[Query, ...] = ()
    arm: str = ""
    """Public experimental arm that `reset` drew."""
    parent: str = ""
    """The episode that this one was forked from."""
    weights: dict[Role, dict[str, float]] = {}
    """Weight of each paid part, by role."""
    schema_version: int = 1
    """Of this struct."""
    fork_at: Seat = ""
    """The seat at whose first turn the members of the case parted; needed to remake seeds."""

    def __repr__(self) -> str:
        """Return id, scenario and ending in one line; `superalign show` prints it all."""
        ending = f"{self.ending.kind}: {self.ending.reason}".removesuffix(": ")
        return (
            f"<Episode {inline(self.id)} of {inline(self.scenario)}, task "
            f"{inline(self.task.id)}, {len(self.utterances)} utterances, {one_line(ending)}>"
        )

    @property
    def failed(self) -> bool:
        """Whether an agent's failure ended it; what came before then is no opinion."""
        return self.ending.kind == "failed"


class PaidTurn(NamedTuple):
    """One turn of a seat: view, text and pay."""

    view: View
    text: str
    pay: float


class Paid(msgspec.Struct, frozen=True, gc=False):
    """A trajectory: an episode as one seat played it, with the settled pay of its turns."""

    episode: Episode
    """The record without what only the truth says: no grades, events, planted answers or
    queries, and paid parts alone."""
    seat: Seat
    pay: dict[int, float]
    """Turn of the episode → pay. What is earned between two turns counts for the earlier."""
    views: dict[int, View]
    """Turn of the episode → what the seat was shown."""

    @property
    def total(self) -> float:
        """Pay of the whole episode."""
        return sum(self.pay.values())

    @property
    def turns(self) -> list[PaidTurn]:
        """The seat's turns, in order."""
        texts = {u.turn: u.text for u in self.episode.utterances if u.seat == self.seat}
        return [PaidTurn(self.views[n], texts[n], self.pay[n]) for n in sorted(self.pay)]
