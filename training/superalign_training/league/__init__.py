"""Checkpoints that play: archived, rated, and met again as opponents.

``members`` reads from the record who there is, ``cells`` and ``exams`` play what was not
played yet, ``matrix`` and ``standings`` say what it comes to, ``opponents`` seats old ones
in training. Nothing is exported here: settings import no torch, and modules are named as
their functions.
"""
