"""Presets for `superalign train`. Defaults live in `superalign_training.settings` only."""
