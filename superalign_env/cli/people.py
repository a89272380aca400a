"""``superalign label``: answers of a person to the open questions of a run."""

from pathlib import Path
from typing import Annotated

import typer

from superalign_env.cli.output import say

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")]
Name = Annotated[
    str, typer.Option("--as", metavar="NAME", help="Under which answers are recorded.")
]
Group = Annotated[str, typer.Option(help="Group of people you belong to, if any.")]


def label(run: RunFolder, name: Name = "me", group: Group = "") -> None:
    """Answer what a run asks people: grades, votes, vetoes, or what ought to be said.

    A run may go on meanwhile; what is said counts at once where it waits for people
    (people.mode=wait), else from its next stage on.
    """
    from superalign_env.humans.terminal import label as ask  # noqa: PLC0415 - paid when used
    from superalign_env.store import Run  # noqa: PLC0415 - same

    with Run.open(run, beside=True) as opened:
        annotator = opened.annotators.get(name)
        if annotator is None or (group and annotator.group != group):
            opened.annotators.enroll(name, group=group)
        tally = ask(opened.questions, name, episode_of=opened.episode)
        open_questions = len(opened.questions.all(answered=False))
    say("{} answered, {} skipped, {} taken back; {} still open", *tally, open_questions)
