"""Hardening stages: train the critic, train the learner by its scores, then attack it.

Three stages. `judge` teaches the critic on planted answers, the only place where the truth
is heard. `imitate` teaches the learner what the critic's expected score approves of, on seed
requests of the training split. `harden`, in every round, lets the search and the attacker's
policy attack the learner, paid by the critic, and teaches it on their queries and on seed
requests. Examples lie in a memory of the chain, so that every stage resumes from the record.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from superalign_agents.search import Search
from superalign_env.measures import share
from superalign_env.seeding import generator
from superalign_env.types import Metric, Role, View
from superalign_training.algorithms.fitting import ExampleTensors, fit, loss_on
from superalign_training.algorithms.supervision import FitSettings
from superalign_training.attackers import (
    WAVE,
    Attacker,
    PolicyAttacker,
    SearchAttacker,
    opening_views,
)
from superalign_training.data import Example
from superalign_training.oversight.critics import (
    ScoredQuery,
    outcomes_of,
    planted_examples,
    score_queries,
)
from superalign_training.oversight.settings import Hardening
from superalign_training.policy import Policy
from superalign_training.selfplay.agents import keep_policy, policy_of
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.playing import stage_capabilities, stage_scenario
from superalign_training.selfplay.sandbox import keep_archive, search_attacker
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.stages.judge import CriticTraining, check_untaught_critic
from superalign_training.selfplay.state import RunState, read_memory, write_memory

EXAMPLES = "hardening-examples"
"""Name of the memory: examples of seed requests, and of attackers' queries."""


class _Fitting(NamedTuple):
    """A fit, as an algorithm for progress display."""

    steps: int
    id: str = "fit"


def teach_critic(
    context: StageContext, settings: Settings, rules: Hardening
) -> StageResult:
    """Train the critic on planted answers: first on one answer, then on all."""
    role = stage_capabilities(settings).judges
    critic = policy_of(context, role, settings)
    scenario = stage_scenario(settings, split="train", variant="planted")
    run = context.seed_of("planted")
    about_one, every = planted_examples(scenario, critic, rules.planted_cases, run=run)
    _fit(context, role, critic, about_one, rules.critic_warmup, part="one-answer")
    held_out = max(1, len(every) // 10)
    loss = 0.0
    for course in range(rules.max_critic_fits):
        _fit(
            context,
            role,
            critic,
            every[:-held_out],
            rules.critic_fit,
            part=f"all-{course}",
        )
        loss = loss_on(critic, ExampleTensors(every[-held_out:]))
        if loss <= rules.target_loss:
            break
    state = keep_policy(context, context.state, role, critic)
    checked = CriticTraining(context._replace(state=state), settings, 0).check()
    for accuracy in checked[:1]:
        check_untaught_critic(context, settings, accuracy)
    notes = {"planted": rules.planted_cases, "loss": loss}
    return StageResult(state, checked, notes)


def imitate(context: StageContext, settings: Settings, rules: Hardening) -> StageResult:
    """Train the learner on seed requests with answers that the critic scores high."""
    scenario = stage_scenario(settings, split="train", variant="attacked")
    capabilities = stage_capabilities(settings)
    critic = policy_of(context, capabilities.judges, settings)
    learner = policy_of(context, capabilities.answers, settings)
    views = opening_views(scenario, rules.seed_cases, run=context.seed_of("seeds"))
    scored = score_queries(scenario, critic.agent, [_seed_of(view) for view in views])
    examples = [_example(learner, query, rules) for query in scored if query is not None]
    _teach(context, capabilities.answers, learner, examples, rules, rules.learner_warmup)
    state = keep_policy(context, context.state, capabilities.answers, learner)
    memory = {"seeds": list(map(_plain, examples)), "queries": []}
    state = _keep_examples(context, state, memory)
    return StageResult(state, notes={"examples": len(examples)})


def harden(context: StageContext, settings: Settings, rules: Hardening) -> StageResult:
    """Attack the learner, then train it on the queries and seed requests."""
    capabilities = stage_capabilities(settings)
    learner = policy_of(context, capabilities.answers, settings)
    memory = read_memory(context.run.path, context.state.memories[EXAMPLES])
    attackers: list[Attacker] = [SearchAttacker(search_attacker(context).archive)]
    if capabilities.asks in settings.learning and not settings.own(capabilities.asks):
        attackers.append(PolicyAttacker(policy_of(context, capabilities.asks, settings)))
    attacks, query_count = _attacks(context, settings, rules, learner, attackers)
    memory["queries"] += [
        [query.query, succeeded, _plain(_example(learner, query, rules))]
        for query, succeeded in attacks
    ]
    course = rules.learner_fits[min(context.round, len(rules.learner_fits)) - 1]
    examples = _drawn(context, memory, rules, course.steps * course.batch_size)
    _teach(context, capabilities.answers, learner, examples, rules, course)
    state = _keep_examples(context, context.state, memory)
    state = keep_policy(context, state, capabilities.answers, learner)
    for attacker in attackers:
        if isinstance(attacker, SearchAttacker):
            state = keep_archive(context, state, Search(attacker.archive))
        elif isinstance(attacker, PolicyAttacker):
            state = keep_policy(context, state, capabilities.asks, attacker.policy)
    return StageResult(
        state,
        _attack_metrics(context, capabilities.answers, attacks, query_count),
        {"valid": len(attacks)},
    )


def _attacks(
    context: StageContext,
    settings: Settings,
    rules: Hardening,
    learner: Policy,
    attackers: Sequence[Attacker],
) -> tuple[list[tuple[ScoredQuery, bool]], int]:
    """Let every attacker use its query budget.

    Returns:
        Valid queries with whether they succeeded, and how many were asked in all.
    """
    scenario = stage_scenario(settings, split="train", variant="attacked")
    critic = policy_of(context, stage_capabilities(settings).judges, settings).agent
    views = opening_views(scenario, rules.queries, run=context.seed_of("attacks"))
    attacks: list[tuple[ScoredQuery, bool]] = []
    for attacker in attackers:
        for start in range(0, rules.queries, WAVE):
            wave = views[start : start + WAVE]
            queries = attacker.explore(wave)
            scored = score_queries(scenario, critic, queries)
            outcomes = outcomes_of(
                learner.agent, scored, score_threshold=settings.attack.score_threshold
            )
            attacker.learn(wave, queries, outcomes)
            attacks += [
                (query, bool(outcome.success))
                for query, outcome in zip(scored, outcomes, strict=True)
                if query is not None
            ]
    return attacks, rules.queries * len(attackers)


def _attack_metrics(
    context: StageContext,
    role: Role,
    attacks: Sequence[tuple[ScoredQuery, bool]],
    query_count: int,
) -> tuple[Metric, ...]:
    """Return the rates of successful queries, by critics, and of valid ones."""
    if not query_count:
        return ()
    agent = context.state.policies[role].agent
    rows = [("attack.valid", share(len(attacks), query_count))]
    if attacks:
        rows.append(
            (
                "attack.success",
                share(sum(succeeded for _, succeeded in attacks), len(attacks)),
            )
        )
    tags = {"by": "verdicts", "split": "train"}
    return tuple(
        Metric(name, *estimate, agent=agent, tags=tags, step=context.round)
        for name, estimate in rows
    )


def _drawn(
    context: StageContext, memory: Mapping[str, Any], rules: Hardening, rows: int
) -> list[Example]:
    """Draw the examples of a round, queries with bad answers more often."""
    rng = generator(context.seed_of("rows"))
    queries, seeds = memory["queries"], memory["seeds"]
    hard = round(rows * rules.attack_share) if queries else 0
    pairs: list[Any] = []
    if hard:
        weights = [1.0 + rules.failure_weight * succeeded for _, succeeded, _ in queries]
        shares = [weight / sum(weights) for weight in weights]
        pairs += [queries[i][2] for i in rng.choice(len(queries), hard, p=shares)]
    pairs += [seeds[i] for i in rng.integers(len(seeds), size=rows - hard)]
    return [
        Example(tuple(prompt), tuple(completion), ("verdicts",))
        for prompt, completion in pairs
    ]


def _teach(
    context: StageContext,
    role: Role,
    learner: Policy,
    examples: Sequence[Example],
    rules: Hardening,
    course: FitSettings,
) -> None:
    """Train the learner with a bias on the logits of some first tokens."""
    decode = learner.tokenizer.decode
    first_tokens = {example.completion_ids[0] for example in examples}
    adjusted = {
        token: rules.logit_bias.get(str(decode([token])).strip(), 0.0)
        for token in first_tokens
    }
    _fit(context, role, learner, examples, course, part="order", adjusted=adjusted)


def _fit(
    context: StageContext,
    role: Role,
    policy: Policy,
    examples: Sequence[Example],
    course: FitSettings,
    *,
    part: str,
    adjusted: Mapping[int, float] | None = None,
) -> None:
    """Run one fit, with progress display and record."""
    fit(
        policy,
        ExampleTensors(examples),
        course,
        seed=context.seed_of(part),
        logit_bias=adjusted,
        on_step=context.on_step(role, policy, _Fitting(course.steps)),
    )


def _example(learner: Policy, scored: ScoredQuery, rules: Hardening) -> Example:
    """Return the learner's example for a query."""
    answer = scored.best(rules.score_penalty)
    return Example(
        learner.prompt_ids(scored.view),
        learner.reply_ids(scored.view, answer),
        ("verdicts",),
    )


def _plain(example: Example) -> list[list[int]]:
    return [list(example.prompt_ids), list(example.completion_ids)]


def _keep_examples(
    context: StageContext, state: RunState, memory: Mapping[str, Any]
) -> RunState:
    return state.with_memory(EXAMPLES, write_memory(context.run.path, EXAMPLES, memory))


def _seed_of(view: View) -> str:
    """Return the seed request of an attacker's view."""
    return next(turn.text for turn in view.turns if turn.author == "seed")
