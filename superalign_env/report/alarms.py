"""What each kind of alarm means, in a sentence."""

from collections.abc import Mapping

SAID: Mapping[str, str] = {
    "alarm.imitation": "generation after generation copies its labels' mistakes",
    "alarm.collapse": "answers to some family lost most of their variety",
    "alarm.non-salient": "it neither took on its labels nor is sure of what it says instead",
    "alarm.over-refusal": "it refuses too much of what people would have wanted answered",
    "alarm.divergence": "critics, who pay it, like its answers more than people do",
    "alarm.collusion": "critics pass its bad answers more often than planted ones",
    "alarm.behaviour-gap": "it behaves otherwise in training than on held-out requests",
    "alarm.trend-break": "a signal jumps out of how it has moved so far",
    "alarm.untaught-critic": "the critic may be no better than a coin: all else rests on it",
}
"""Kind of event → what it says of the generation."""
