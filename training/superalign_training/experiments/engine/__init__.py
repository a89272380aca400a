"""The engine: cells are computed once, in any number of processes, and summed up."""
