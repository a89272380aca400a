"""One episode for people: what was said, what it earned, what the truth says of it."""

from rich.text import Text

from superalign_env.cli.output import shown
from superalign_env.rewards import paid, totals
from superalign_env.rounding import decimal
from superalign_env.truth_words import said_by_truth
from superalign_env.types import Episode, Utterance, role_of

_COLOURS = {"attacker": "red", "learner": "green", "critic": "yellow", "human": "magenta"}


def transcript(episode: Episode) -> list[Text]:
    """Return an episode as coloured lines: what was said, and what it earned."""
    head = Text(episode.id, "bold") + shown(f" {episode.scenario} {episode.arm}")
    lines = [head, Text("  task ", "dim") + shown(episode.task.prompt)]
    for said in episode.utterances:
        lines += _turn(episode, said)
    pay = totals(episode.rewards, episode.weights)
    earned = ", ".join(f"{seat} {decimal(value, sign=True)}" for seat, value in pay.items())
    lines.append(shown(f"  {episode.ending.kind} {episode.ending.reason} {earned}", "dim"))
    return lines


def _turn(episode: Episode, said: Utterance) -> list[Text]:
    colour = _COLOURS.get(role_of(said.seat), "cyan")
    lines = [
        Text(f"{said.turn:4} ", "dim") + shown(f"{said.seat} ", colour) + shown(said.text)
    ]
    if said.reply is not None and said.reply.thought:
        lines.append(Text("       thought ", "dim") + shown(said.reply.thought, "dim"))
    if said.repair:
        lines.append(Text("       repaired: it ", "dim") + shown(said.repair, "dim"))
    for reward in episode.rewards:
        if reward.turn == said.turn:
            value = paid(reward, episode.weights)
            note = "recorded only" if value is None else f"pays {decimal(value, sign=True)}"
            worth = decimal(reward.value, sign=True)
            part = f"       {reward.seat} {reward.part} {worth}, {note}"
            lines.append(shown(part, "dim" if value is None else colour))
    truth = said_by_truth([grade for grade in episode.grades if grade.turn == said.turn])
    if truth:
        lines.append(Text("       truth: ", "blue") + shown(truth, "blue"))
    return lines
