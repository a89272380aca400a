"""What of settings can be refused before PyTorch and TRL are imported."""

import re

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


def unreadable(word: str) -> str:
    """Return what to write instead of a word that is no KEY=VALUE."""
    key, found, value = word.partition("=")
    if not found:
        return (
            f"{word!r} is no setting; write KEY=VALUE, as in rounds=3 or train.learner=ppo"
        )
    if any(value.count(a) != value.count(b) for a, b in ("{}", "[]", "()")):
        why = "a bracket is not closed"
    elif value.count("'") % 2 or value.count('"') % 2:
        why = "a quotation mark is not closed"
    else:
        why = "special characters need quotation marks of their own"
    plain = key if re.fullmatch(r"[\w.+~/-]+", key) else "KEY"
    return (
        f"{word!r} cannot be read: {why}. Write one value ({plain}=micro/3), a mapping "
        f"('{plain}={{id: fixed, text: ok}}'), a list ('{plain}=[a, b]') or a text in quotes "
        f"({plain}=\\'a: b\\'); quote what has spaces or brackets for the shell"
    )
