"""Models behind an OpenAI-compatible server.

``agent`` asks, ``dialect`` writes the request, ``completion`` reads the answer,
``ledger`` counts the cost, ``address`` finds server and key.
"""

from superalign_agents.endpoint.agent import EndpointAgent
from superalign_agents.endpoint.ledger import Ledger

__all__ = ["EndpointAgent", "Ledger"]
