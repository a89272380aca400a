"""What a critic's view is about: a request and the answer to it."""

from superalign_env.types import View, role_of


def exchange(view: View, answers: str = "learner") -> tuple[str, str]:
    """Return the request and the answer that a view shows; no answer where there is none.

    Args:
        view: of a critic.
        answers: role whose latest turn is the answer; what others said before it (critics
            apart) is the request.
    """
    turns = view.turns
    spoken = [i for i, turn in enumerate(turns) if role_of(turn.author) == answers]
    if not spoken:
        return view.text, ""
    request = "\n".join(
        turn.text
        for turn in turns[: spoken[-1]]
        if role_of(turn.author) not in (answers, "critic")
    )
    return request, turns[spoken[-1]].text
