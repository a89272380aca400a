"""How far the next generation may be above the last: levels, and who chooses them."""
