"""A tiny policy, and a little experience of every kind in its tokens."""

from collections.abc import Sequence
from typing import Any

from superalign_agents.decoding import Decoded, sample
from superalign_env.seeding import mix
from superalign_training.algorithms.algorithm import Kind
from superalign_training.data import Example, Preference, Row, UnpairedPreference
from superalign_training.policy import Policy


def tiny_policy() -> Policy:
    """Return the smallest shipped policy."""
    return Policy.from_reference("micro/0")


def experience_of(kind: Kind, policy: Policy) -> list[Any]:
    """Return experience in tokens of the policy, with prompts and completions of any length."""
    end = int(policy.tokenizer.eos_token_id)
    experience: list[Any] = []
    for n in range(12):
        prompt = tuple(range(20 + n, 22 + n + n % 3))
        completion, rejected = (*range(40 + n, 41 + n + n % 2), end), (60 + n, end)
        if kind == "preferences":
            experience.append(Preference(prompt, completion, rejected, ("someone",)))
        elif kind == "unpaired_preferences":
            experience.append(
                UnpairedPreference(prompt, completion, n % 2 == 0, ("someone",))
            )
        else:
            experience.append(Example(prompt, completion, ("someone",)))
    return experience


def play_case(policy: Policy, case: int, members: int) -> list[Row]:
    """Return the rows of a case: two turns, which are one row, or (odd cases) two rows."""
    prompt, between = tuple(range(20 + case % 7, 22 + case % 7 + case % 3)), (50, 51)

    def said(turn: int, read: Sequence[tuple[int, ...]]) -> list[Decoded]:
        return sample(
            policy.model,
            read,
            [mix(case, member, turn) for member in range(members)],
            max_new_tokens=[3] * members,
            stop_ids=[int(policy.tokenizer.eos_token_id)],
        )

    first = said(0, [prompt] * members)
    prompts = [(*prompt, *decoded.token_ids, *between) for decoded in first]
    rows = []
    for member, turns in enumerate(zip(first, said(1, prompts), strict=True)):
        row = _row(case, member, prompt, turns, between)
        if case % 2 == 0:
            rows.append(row)
            continue
        rows += [
            _row(case, member, prompt, turns[:1])._replace(to_go=row.to_go),
            _row(case, member, prompts[member], turns[1:])._replace(turns=(1,)),
        ]
    return rows


def _row(
    case: int,
    member: int,
    prompt: tuple[int, ...],
    turns: Sequence[Decoded],
    others_tokens: tuple[int, ...] = (),
) -> Row:
    """Return one row. Rewards depend on tokens, so that few are equal."""
    ids: tuple[int, ...] = ()
    mask: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    for turn in turns:
        between = others_tokens if ids else ()
        ids, start = ids + between + turn.token_ids, len(ids + between)
        spans += ((start, len(ids)),)
        mask += (0,) * len(between) + (1,) * len(turn.token_ids)
        logprobs += (0.0,) * len(between) + turn.logprobs
    pay = tuple(sum(turn.token_ids) * 37 % 101 / 100 for turn in turns)
    episode = f"case-{case}-member-{member}"
    place = tuple(range(len(turns)))
    return Row(
        episode,
        case,
        member,
        "learner_0",
        place,
        prompt,
        ids,
        mask,
        spans,
        logprobs,
        turn_rewards=pay,
        to_go=sum(pay),
        policy="",
    )


def paid(row: Row, amount: float) -> Row:
    """Return a row with a reward for the whole episode at its last turn."""
    has_last = 1 in row.turns
    pay = (*[0.0] * (len(row.turns) - 1), amount if has_last else 0.0)
    return row._replace(turn_rewards=pay, to_go=amount)
