"""Message about a word of the command line that cannot be read."""

import re


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
