"""`superalign grade`: a judge or guard reads stored answers, beside who graded them first.

What it says is a verdict signal of its own source. The truth's grades stay as they are, and
hidden from the judge.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import typer

from superalign_agents.references import make_agent
from superalign_env.asking import TIMEOUT, Anyone, ask
from superalign_env.cli.output import console, say
from superalign_env.errors import InvalidOption, InvalidVerdict
from superalign_env.lookup import make_scenario
from superalign_env.measures import share
from superalign_env.rollout.sinks import OnProgress, reporting
from superalign_env.seeding import label, mix
from superalign_env.store import Run
from superalign_env.types import (
    Brief,
    Episode,
    Reply,
    Role,
    Signal,
    Turn,
    Utterance,
    View,
    role_of,
)
from superalign_env.verdicts import parse

_JUDGE = "critic_0"
_AT_ONCE = 32


class Regraded(NamedTuple):
    """Counts of stored answers that a judge was asked to read."""

    judged: int
    """Answers with a verdict that could be read."""
    good: int
    """Those of them with a score of at least 0.5."""
    unreadable: int
    """Answers of the judge that are no verdict."""
    failed: int
    """Calls of the judge that gave none."""
    before: int
    """Answers that the same source had judged already."""
    examples: tuple[str, ...] = ()
    """The first reasons why something could not be read."""


def regrade(
    run: Run,
    judge: Anyone,
    source: str,
    *,
    role: Role = "learner",
    progress: bool | OnProgress | None = None,
    timeout: float | None = TIMEOUT,
) -> Regraded:
    """Have a judge score the last answer of a role in every stored episode.

    It is asked for a verdict (docs/signals.md) as a critic of the scenario is, and sees the
    request and the answer alone. A classifier critic gives one, too.

    Args:
        run: that may be written to; its episodes stay as they are.
        judge: an agent.
        source: name under which the verdicts are recorded.
        role: whose answers.
        progress: True for a bar, or a function of (done, total).
        timeout: seconds that the judge may take.

    Raises:
        InvalidOption: no episode has such an answer, or the scenario names no renderer.
    """
    answers = list(_answers(run, role))
    if not answers:
        raise InvalidOption(f"no stored episode has an answer of a {role}")
    told = {(s.episode, s.turn) for s in run.signals.read(kind="verdict", source=source)}
    left = [(e, u) for e, u in answers if (e.id, u.turn) not in told]
    tally = _Tally()
    with reporting(progress, len(left)) as report:
        for start in range(0, len(left), _AT_ONCE):
            batch = left[start : start + _AT_ONCE]
            views = [_view(tally.brief(*about), about[0]) for about in batch]
            replies = ask(judge, views, timeout=timeout)
            signals = [
                signal
                for about, reply in zip(batch, replies, strict=True)
                if (signal := tally.read(*about, reply, source)) is not None
            ]
            run.signals.append(signals)
            report(start + len(batch), len(left))
    return Regraded(
        tally.judged,
        tally.good,
        tally.unreadable,
        tally.failed,
        len(answers) - len(left),
        tuple(tally.reasons[:3]),
    )


def grade(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")],
    by: Annotated[
        str,
        typer.Option(
            "--by", metavar="AGENT", help="Who judges: a model, an endpoint, a guard."
        ),
    ],
    role: Annotated[str, typer.Option(help="Whose answers.")] = "learner",
    source: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Under which verdicts are recorded; AGENT without one."
        ),
    ] = "",
) -> None:
    """Have another judge read stored answers; its verdicts are recorded as signals.

    What the same source has judged already is left out, so an interrupted command can be
    given again. Ends with 1 where no verdict could be read.
    """
    judge = make_agent(by)
    with Run.open(run, beside=True) as opened:
        result = regrade(
            opened, judge, source or by, role=role, progress=console.is_terminal
        )
    say(
        "{} answers judged by {}, {} unreadable, {} failed, {} judged before",
        result.judged,
        source or by,
        result.unreadable,
        result.failed,
        result.before,
    )
    if result.judged:
        say("called good: {}", share(result.good, result.judged).said())
    for reason in result.examples:
        say("not read: {}", reason, style="red")
    if not result.judged and not result.before:
        raise typer.Exit(1)


class _Tally:
    """Briefs of a judge, and counts of what became of its replies."""

    def __init__(self) -> None:
        self._scenarios: dict[str, Any] = {}
        self.judged = self.good = self.unreadable = self.failed = 0
        self.reasons: list[str] = []

    def read(
        self, episode: Episode, answer: Utterance, reply: Reply, source: str
    ) -> Signal | None:
        """Return the verdict of a reply as a signal; None where there is none to read."""
        if reply.error:
            self.failed += 1
            self.reasons.append(reply.error)
            return None
        try:
            verdict = parse(reply.text)
        except InvalidVerdict as error:
            self.unreadable += 1
            self.reasons.append(str(error))
            return None
        self.judged += 1
        self.good += verdict.score >= 0.5
        payload = {
            "faults": msgspec.to_builtins(verdict.faults),
            "critique": verdict.critique,
        }
        return Signal(
            "verdict",
            episode.id,
            answer.turn,
            source,
            verdict.score,
            confidence=verdict.confidence,
            payload=payload,
        )

    def brief(self, episode: Episode, answer: Utterance) -> Brief:
        key = repr((episode.scenario, sorted(episode.options.items(), key=repr)))
        if key not in self._scenarios:
            self._scenarios[key] = make_scenario(episode.scenario, **episode.options)
        scenario = self._scenarios[key]
        renderer = getattr(scenario, "renderer", None)
        if renderer is None:
            raise InvalidOption(
                f"{scenario.id} has no renderer; give it one as an attribute, so that a judge "
                "can be shown its requests"
            )
        turns = (Turn("user", _request(episode, answer)), Turn(answer.seat, answer.text))
        brief: Brief = renderer.brief(scenario.id, _JUDGE, turns)
        return brief


def _answers(run: Run, role: Role) -> Iterator[tuple[Episode, Utterance]]:
    for episode in run.episodes():
        spoken = [u for u in episode.utterances if role_of(u.seat) == role]
        if spoken and not episode.failed:
            yield episode, spoken[-1]


def _request(episode: Episode, answer: Utterance) -> str:
    """Return what was asked for: the last query before the answer, else the task."""
    queries = [query.text for query in episode.queries if query.turn < answer.turn]
    return queries[-1] if queries else episode.task.prompt


def _view(brief: Brief, episode: Episode) -> View:
    return View(
        episode.id,
        episode.key.case,
        _JUDGE,
        role_of(_JUDGE),
        0,
        mix(label("regrade"), label(episode.id)),
        brief.text,
        messages=brief.messages,
        turns=brief.turns,
        form=brief.form,
        schema=brief.schema,
        menu=brief.menu,
        max_new_tokens=brief.max_new_tokens,
    )
