"""What the run was asked to do, and what it was made with."""

from superalign_env.report import names
from superalign_env.report.document import Document
from superalign_env.report.markup import folded, table
from superalign_env.report.section import Section, section


def settings(document: Document) -> Section:
    """Return settings and versions."""
    asked = list(names.flat(document.info.config).items())
    made = [*document.info.versions.items(), ("revision", document.info.revision)]
    return section(
        "settings",
        "Settings and versions",
        "",
        folded("Settings", table(("setting", "value"), asked, label="Settings")),
        folded("Versions", table(("made with", "version"), made, label="Versions")),
    )
