"""A laboratory for superalignment: text games, hidden truth, recorded words."""
