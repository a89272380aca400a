"""Stable-Baselines3's algorithms, on numbers or on a language model's tokens."""
