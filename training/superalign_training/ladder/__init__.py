"""Named rungs of measured capability: how the `micro` ladder is built and measured."""
