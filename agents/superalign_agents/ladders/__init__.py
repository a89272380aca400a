"""Ladders of models whose capability was measured, and where their rungs lie."""
