"""Critics made of other things: of several critics, of a persona, of a classifier."""
