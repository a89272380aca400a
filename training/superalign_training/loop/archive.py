"""The archive of attacks: what the search attacker remembers from stage to stage."""

from superalign_agents.archive import Archive
from superalign_agents.search import Search
from superalign_training.loop.chain import Chain, read_memory, write_memory
from superalign_training.loop.driver import Bench

ARCHIVE = "attacker-archive"
"""Name of the memory in a chain."""


def searcher(bench: Bench) -> Search:
    """Return the search attacker with the archive of the chain."""
    search = Search(Archive())
    memory = bench.chain.memories.get(ARCHIVE)
    if memory is not None:
        search.load_state_dict(read_memory(bench.run.path, memory))
    return search


def keep_archive(bench: Bench, chain: Chain, search: Search) -> Chain:
    """Return the chain with what the search attacker remembers now."""
    return chain.with_memory(
        ARCHIVE, write_memory(bench.run.path, ARCHIVE, search.state_dict())
    )
