"""What the truth says of policies, on held-out cases. Nothing here is trained on."""
