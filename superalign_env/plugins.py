"""What this package itself registers."""

from superalign_env.registry import Table

PLUGINS: Table = {}
