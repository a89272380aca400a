"""One seam for everything that continues prompts: transformers here, vLLM on a server GPU."""

from superalign_agents.generation.seam import Ask, Generator, InProcess

__all__ = ["Ask", "Generator", "InProcess"]
