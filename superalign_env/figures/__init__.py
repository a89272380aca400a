"""Pictures: plain data in, SVG for a page out. Needs ``superalign-env[figures]``."""

from superalign_env.figures.charts import (
    Dot,
    Grid,
    Line,
    Panel,
    draw_grid,
    draw_lines,
    draw_sample,
)
from superalign_env.figures.drawing import Described, save
from superalign_env.figures.plane import Axis, Reading, Rung, Spot, draw_plane
from superalign_env.figures.tree import Node, draw_forest

__all__ = [
    "Axis",
    "Described",
    "Dot",
    "Grid",
    "Line",
    "Node",
    "Panel",
    "Reading",
    "Rung",
    "Spot",
    "draw_forest",
    "draw_grid",
    "draw_lines",
    "draw_plane",
    "draw_sample",
    "save",
]
