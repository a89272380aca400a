"""Supervision: aligned generations, other models, personas and people as sources of labels."""
