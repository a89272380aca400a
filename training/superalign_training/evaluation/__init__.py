"""Gold-label evaluation of policies on held-out cases. Nothing here is trained on."""
