"""Reading a record: ``superalign show``, ``replay``, ``validate`` and ``report``."""

import shlex
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from superalign_env.cli.output import (
    AsJson,
    console,
    print_json,
    print_transcript,
    reading_bar,
    say,
    shown,
    table,
)
from superalign_env.errors import InvalidOption, RecordDamaged, UnknownId
from superalign_env.rounding import between, number
from superalign_env.types import Episode, Metric, Signal

if TYPE_CHECKING:
    from superalign_env.protocols import Scenario
    from superalign_env.rollout.one_episode import Comparison
    from superalign_env.store import Run


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")]
EpisodeName = Annotated[str, typer.Argument(metavar="EPISODE", help="Id of the episode.")]

_SHOWN = ("superalign-env", "python", "torch", "transformers")
"""Packages whose versions stand at the head of a run."""


def show(
    run: RunFolder,
    episode: Annotated[
        str | None, typer.Argument(metavar="[EPISODE]", help="Id of one episode.")
    ] = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="All metrics, not only the newest.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a run: stages, newest metrics, counts; or the transcript of one episode."""
    from superalign_env.store import Run  # noqa: PLC0415 - only verbs that need it pay for it

    with Run.open(run, readonly=True) as opened:
        if episode is not None:
            recorded = opened.episode(episode)
            signals = opened.signals.of(episode)
            if as_json:
                print_json({"episode": recorded, "signals": signals})
                return
            print_transcript(recorded)
            for signal in signals:
                _print_signal(signal)
        elif as_json:
            print_json(_facts(opened))
        else:
            _print_facts(opened, every_metric=metrics)


def _print_signal(signal: Signal) -> None:
    """Print one signal as a line; of a pair the first turn, and what it was compared with."""
    place = f"turn {signal.turn}"
    if signal.versus >= 0:
        place = f"turn {signal.turn} over turn {signal.versus}"
    if signal.versus_episode is not None:
        place = f"{place} ({signal.episode} over {signal.versus_episode})"
    line = f"  {signal.kind} {number(signal.value)} on {place} by "
    console.print(shown(signal.source, head=line, head_style="magenta"))


def replay(
    run: RunFolder,
    episode: EpisodeName,
    scenario: Annotated[
        str | None,
        typer.Option(help="Its rules, module:attribute, where the record does not say."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Play a recorded episode again through the rules and compare every turn."""
    from superalign_env.rollout.one_episode import replay as compare  # noqa: PLC0415 - when needed
    from superalign_env.store import Run  # noqa: PLC0415 - same

    with Run.open(run, readonly=True) as opened:
        recorded = opened.episode(episode)
        rules = _rules(recorded, scenario or opened.info.config.get("scenario"))
    comparison = compare(recorded, rules)
    if as_json:
        print_json(comparison)
    else:
        _print_comparison(recorded, comparison)
    if not comparison.same:
        raise typer.Exit(1)


def _rules(recorded: Episode, scenario_name: Any) -> "Scenario[Any]":
    """Return the rules of an episode: of the registry, or as its run names them.

    Args:
        recorded: the episode.
        scenario_name: ``module:attribute`` of a scenario that is not registered.

    Raises:
        InvalidOption: its rules cannot be found.
    """
    from superalign_env.lookup import make_scenario  # noqa: PLC0415 - imported when needed

    is_import = isinstance(scenario_name, str) and ":" in scenario_name
    try:
        rules = make_scenario(
            scenario_name if is_import else recorded.scenario, **recorded.options
        )
    except UnknownId as error:
        raise InvalidOption(
            f"{recorded.id} was played in {recorded.scenario}, which is not registered here; name "
            "its class or function with --scenario module:attribute"
        ) from error
    if rules.id != recorded.scenario:
        raise InvalidOption(
            f"{recorded.id} was played in {recorded.scenario}, and {scenario_name} makes {rules.id}; name "
            "the scenario of the episode with --scenario module:attribute"
        )
    return rules


def validate(
    run: RunFolder,
    with_digest: Annotated[
        str,
        typer.Option("--digest", metavar="HASH", help="What `superalign digest` printed."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Check every row, link and file of a run; name what is missing, added or altered.

    Ends with 1 if anything is, with one line of advice each. What was written after the last
    seal is said, too. With --digest also check that the run is the one that had this digest.
    """
    from superalign_env.store import Problem, examine  # noqa: PLC0415 - when needed

    with reading_bar() as bar:
        health = examine(run, bar, with_digest=bool(with_digest))
    problems = [*health.problems]
    now = health.digest.get("run", "")
    if now and now != with_digest.strip().lower():
        advice = "compare with the run that the digest was printed of, or with a copy of it"
        difference = f"its digest is {now}, not {with_digest}"
        problems.append(Problem("digest", difference, advice))
    if as_json:
        print_json(problems)
    elif problems:
        rows = [(p.kind, shown(p.what), shown(p.advice)) for p in problems]
        console.print(table(["problem", "what", "what to do"], rows))
    else:
        say("{} episodes, every row, link and file as written", health.episodes)
        for note in health.unsealed:
            say("{}", note, style="dim")
    if problems:
        raise typer.Exit(1)


def digest(run: RunFolder, as_json: AsJson = False) -> None:
    """Print one hash of all that a run did and measured, as for a paper's footnote.

    It covers settings, seed, stages, every episode (words, tokens, rewards, grades, facts),
    events, metrics, agents, hazards, signals, questions, annotators, cells and checkpoints.
    Left out are clocks, durations, names of folders, versions of packages, open leases, and
    whatever is made from the record, as summaries and reports: two runs with the same settings
    and seed have the same digest, however often they were interrupted, and a copy has it, too.
    --json prints a hash of each part. A run with problems (superalign validate) has none.
    """
    from superalign_env.store import examine  # noqa: PLC0415 - when needed

    with reading_bar() as bar:
        health = examine(run, bar, with_digest=True)
    if health.problems:
        raise RecordDamaged(
            f"{run} has no digest, since something in it is missing, added or altered: "
            f"{health.problems[0].what}; see `superalign validate {shlex.quote(str(run))}`"
        )
    if as_json:
        print_json(dict(health.digest))
    else:
        say("{}", health.digest["run"])


def _facts(run: "Run") -> dict[str, Any]:
    return {
        "run": run.info,
        "stages": run.stages.all(),
        "episodes": run.census(),
        "agents": run.agents.all(),
        "metrics": run.metrics.read(),
        "events": run.events.kinds(),
        "signals": run.signals.last_id(),
        "questions": run.questions.budget(),
    }


def _print_facts(run: "Run", *, every_metric: bool) -> None:
    from superalign_env.store import TRAINING  # noqa: PLC0415 - when needed

    info = run.info
    about = f"{info.kind}, {info.status}, seed {info.seed}"
    console.print(shown(about, head=f"{info.id} ", head_style="bold"))
    # The others are in `--json` and in the report.
    versions = [f"{name} {info.versions[name]}" for name in _SHOWN if name in info.versions]
    code = (
        "no git revision"
        if info.revision.startswith("v")
        else f"revision {info.revision[:12]}"
    )
    say("{}", ", ".join([code, *versions]), style="dim")
    stages = [
        (stage.id, stage.generation, stage.round, stage.status, run.count(stage=stage.id))
        for stage in run.stages.all()
    ]
    _print_table(["stage", "generation", "round", "status", "episodes"], stages)
    counted = [(c.scenario, c.arm, c.ending, c.n, c.stage) for c in run.census()]
    _print_table(["scenario", "arm", "ending", "episodes", "stage"], counted)
    metrics = run.metrics.read(without=TRAINING)
    newest = [m for m in metrics if m.stage == metrics[-1].stage]
    measured = [
        (*_metric(m.metric), m.stage) for m in (metrics if every_metric else newest)
    ]
    _print_table(["metric", "value", "interval", "n", "agent", "tags", "stage"], measured)
    folder = shlex.quote(str(run.path))
    if len(measured) < len(metrics):
        say(
            "{} of earlier stages: `superalign show --metrics {}`",
            len(metrics) - len(measured),
            folder,
            style="dim",
        )
    _print_table(["event", "how many"], list(run.events.kinds().items()))
    budget = run.questions.budget()
    counts = run.signals.last_id(), budget.asked, budget.answered
    say("{} signals; {} questions, {} answered", *counts)
    say("`superalign report {}` makes a page of it", folder, style="dim")


def _print_table(columns: list[str], rows: list[Any]) -> None:
    if rows:
        console.print()
        console.print(table(columns, rows))


def _metric(metric: Metric) -> tuple[str, str, str, str, str, str]:
    tags = " ".join(f"{key}={value}" for key, value in metric.tags.items())
    agents = metric.agent[:12] + (f" vs {metric.opponent[:12]}" if metric.opponent else "")
    interval = between(metric.low, metric.high)
    return metric.name, number(metric.value), interval, str(metric.n), agents, tags


def _print_comparison(episode: Episode, comparison: "Comparison") -> None:
    def said(same: bool) -> Text:
        return Text("ok", "green") if same else Text("differs", "red")

    rows = [
        (turn.turn, turn.seat, *map(said, turn[2:]), episode.utterances[n].text)
        for n, turn in enumerate(comparison.turns)
    ]
    console.print(
        table(["turn", "seat", "view", "rewards", "grades", "events", "text"], rows)
    )
    for line in comparison.differences:
        console.print(shown(line, "red"))
    say("reproduced" if comparison.same else "NOT reproduced")


RunFolders = Annotated[
    list[Path],
    typer.Argument(metavar="RUN", help="Folder of the run; further ones to compare."),
]
Compare = Annotated[
    bool,
    typer.Option("--compare", help="Show several side by side; implied by several."),
]
Out = Annotated[
    Path | None,
    typer.Option(help="The file; report.html or comparison.html in the run's folder."),
]
Open = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]


def report(
    runs: RunFolders, compare: Compare = False, out: Out = None, open_it: Open = False
) -> None:
    """Write one self-contained page about a run, or about several side by side.

    The page is made from the record alone and needs no network: superalign report runs/mine
    """
    try:
        # Drawing takes a second to import, and is an extra.
        from superalign_env.report import write_report  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise InvalidOption(
            "reports need: pip install 'superalign-env[figures]'"
        ) from error

    first, *others = runs
    if compare and not others:
        raise InvalidOption(f"{first} has nothing to be compared with: name further runs")
    page = write_report(first, compare=others, out=out)
    say("{}", page)
    if open_it:
        webbrowser.open(page.resolve().as_uri())
