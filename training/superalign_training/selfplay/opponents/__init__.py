"""Past checkpoints as opponents: archive, ratings and sampling.

``opponents`` reads checkpoints from the record and seats them in training, ``games`` plays
the cells that are missing, ``matrix`` and ``ratings`` sum them up. Nothing is exported here:
settings import no torch.
"""
