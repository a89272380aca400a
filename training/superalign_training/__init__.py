"""How policies are raised. The table below is the table of contents."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # PLUGINS must exist before superalign_env reads it
    from superalign_env.registry import Table

PLUGINS: "Table" = {}
