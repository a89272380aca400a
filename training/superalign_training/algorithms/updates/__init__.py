"""What an update from pay is made of: credit, losses, likelihoods, steps that fit in memory."""
