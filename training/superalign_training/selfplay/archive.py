"""The archive of attacks: what the search attacker remembers from stage to stage."""

from superalign_agents.archive import Archive
from superalign_agents.search import Search
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.state import RunState, read_memory, write_memory

ARCHIVE = "attacker-archive"
"""Name of the memory in a chain."""


def searcher(context: StageContext) -> Search:
    """Return the search attacker with the archive of the chain."""
    search = Search(Archive())
    memory = context.state.memories.get(ARCHIVE)
    if memory is not None:
        search.load_state_dict(read_memory(context.run.path, memory))
    return search


def keep_archive(context: StageContext, state: RunState, search: Search) -> RunState:
    """Return the chain with what the search attacker remembers now."""
    return state.with_memory(
        ARCHIVE, write_memory(context.run.path, ARCHIVE, search.state_dict())
    )
