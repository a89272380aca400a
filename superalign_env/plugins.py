"""Registered entries of this package: its commands."""

from superalign_env.registry import Table

PLUGINS: Table = {
    "command": {
        "digest": (
            "superalign_env.cli.record:digest",
            "print one hash of all that a run did and measured",
        ),
        "doctor": (
            "superalign_env.cli.doctor:doctor",
            "print versions, extras, device, and the health of a run",
        ),
        "label": (
            "superalign_env.cli.people:label",
            "answer what a run asks people",
        ),
        "ls": (
            "superalign_env.cli.listing:ls",
            "list runs, the episodes of a run, or what is registered",
        ),
        "replay": (
            "superalign_env.cli.record:replay",
            "play a recorded episode again through the rules and compare",
        ),
        "report": (
            "superalign_env.cli.record:report",
            "write a page about a run, or about several side by side",
        ),
        "show": (
            "superalign_env.cli.record:show",
            "show a run, or the transcript of one of its episodes",
        ),
        "validate": (
            "superalign_env.cli.record:validate",
            "name what is missing, added or altered in a run",
        ),
    }
}
