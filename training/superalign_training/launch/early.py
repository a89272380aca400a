"""What of settings can be refused before PyTorch and TRL are imported."""

from superalign_agents.references import require_known
from superalign_env.errors import InvalidOption, hint, nearest
from superalign_env.lookup import make_scenario, named_object
from superalign_env.types import role_of
from superalign_training.lineup import OBJECT
from superalign_training.loggers import make_loggers
from superalign_training.settings import Settings


def check_early(settings: Settings) -> None:
    """Raise where a name in the settings means nothing; `check` sees the rest.

    Raises:
        UnknownId: a scenario or an agent that does not exist.
        InvalidOption: a role that the scenario does not have, a logger whose library is
            missing.
    """
    make_loggers(settings.log_to)
    scenario = make_scenario(settings.scenario, **settings.options)
    roles = list(dict.fromkeys(map(role_of, scenario.seats)))
    for setting, known in (("lineup", [*roles, *scenario.seats]), ("train", roles)):
        for name in getattr(settings, setting):
            if name not in known:
                said = hint(nearest(name, known), known, listed="there are")
                raise InvalidOption(
                    f"{setting}.{name}: {scenario.id} has no {name}; {said}"
                )
    for name in settings.lineup:
        reference = settings.reference(name)
        require_known(reference)
        named = reference if isinstance(reference, str) else str(reference.get("id"))
        kind, _, attribute = named.partition(":")
        own = attribute and all(part.isidentifier() for part in kind.split("."))
        if own and not named.startswith((OBJECT, "hf:", "endpoint:")):
            named_object(named, what="agent")
