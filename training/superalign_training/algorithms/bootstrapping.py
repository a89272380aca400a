"""Bootstrapping through intermediate sizes: each model learns from labels of the one before.

Burns et al. 2023 (section 4.3.1) bootstrap through intermediate sizes instead of letting
the weakest model teach the strongest one. What a rung labels is the business of the caller;
who taught whom is in every example's sources.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import exp

from superalign_env.errors import InvalidOption
from superalign_env.seeding import mix
from superalign_env.types import View
from superalign_training.algorithms.algorithm import Supervised
from superalign_training.data import Example
from superalign_training.policy import Policy

Relabel = Callable[[Policy, Policy], Sequence[Example]]
"""(teacher, student) → examples in the student's tokens, labelled by the teacher."""


def bootstrap(
    policies: Sequence[Policy],
    examples: Sequence[Example],
    relabel: Relabel,
    method: Supervised,
    *,
    seed: int,
) -> list[dict[str, float]]:
    """Teach a chain of policies in place, each by the labels of the one before.

    Args:
        policies: from the weakest to the strongest; all are changed in place.
        examples: of the first one.
        relabel: asks a rung, once it is taught, for examples of the next one.
        method: how every rung learns; it takes examples.
        seed: of everything random; every rung has another one made from it.

    Returns:
        What the method says of each rung, in order.

    Raises:
        InvalidOption: no policies, or a rung that labels nothing.
    """
    if not policies:
        raise InvalidOption("there is no rung to teach; give at least one policy")
    reports = [method.improve(policies[0], examples, seed=mix(seed, 0))]
    for number, (teacher, student) in enumerate(pairwise(policies), start=1):
        labelled = relabel(teacher, student)
        if not labelled:
            raise InvalidOption(
                f"{teacher.reference} labels nothing for {student.reference}; let relabel "
                "return at least one example"
            )
        reports.append(method.improve(student, labelled, seed=mix(seed, number)))
    return reports


def labelled_by(
    teacher: Policy, student: Policy, views: Sequence[View], *, source: str = ""
) -> list[Example]:
    """Return a teacher's replies to views, as examples for a student.

    It says it at its agent's temperature; how sure it is, is the probability of its whole
    answer. Who cannot read a view, or does not come to an end, labels nothing there.

    Args:
        teacher: speaks.
        student: whose tokens the examples are.
        views: what both are shown.
        source: who the examples say taught; empty is the teacher's reference.
    """
    replies = teacher.agent.act(views)
    return [
        Example(
            student.prompt_ids(view),
            student.reply_ids(view, reply.text),
            (source or teacher.reference,),
            min(1.0, exp(sum(reply.logprobs))),
        )
        for view, reply in zip(views, replies, strict=True)
        if reply.finish == "stop"
    ]


def approved(
    examples: Sequence[Example], scores: Sequence[float], *, above: float = 0.5
) -> list[Example]:
    """Return the examples that critics approve of: critique-assisted labels.

    Args:
        examples: labelled by anybody.
        scores: the critics' mean score of each label, in [0, 1].
        above: least score of an example that is taught.

    Raises:
        InvalidOption: not as many scores as examples.
    """
    if len(examples) != len(scores):
        raise InvalidOption(
            f"{len(scores)} scores for {len(examples)} examples; critics judge each of them"
        )
    return [
        example for example, score in zip(examples, scores, strict=True) if score >= above
    ]
