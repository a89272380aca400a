"""Checkpoints that play: archived, rated, and met again as opponents.

``opponents`` reads checkpoints from the record and seats them in training, ``games`` plays
the cells that are missing, ``matrix`` and ``ratings`` sum them up. Nothing is exported here:
settings import no torch.
"""
