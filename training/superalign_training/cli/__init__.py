"""From words on a command line to a run, a sweep or a fork, and what it will cost."""
