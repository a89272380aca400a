"""Presets for `superalign train`. Defaults live in `superalign_training.selfplay.settings` only."""
