"""Whether every seat's moves work: sampled requests, answers, verdicts, revisions."""

from collections.abc import Callable, Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidVerdict
from superalign_env.plain_text import fence
from superalign_env.seeding import generator, mix
from superalign_env.types import Metric, Task, View
from superalign_env.verdicts import parse
from superalign_training.ladder.measure import share_metric
from superalign_training.ladder.worlds import World

_MAX_NEW = 40
_MAX_DRAWS = 50


def measure_moves(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    *,
    seed: int = 0,
) -> tuple[Metric, ...]:
    """Return, for each role, the share of sampled moves that the rules understand.

    Attackers read a seed request and must write a valid training request, learners and
    revising learners one of the task's choices, critics a verdict. Nothing is said about
    whether a move is good. Worlds without tasks that offer choices have no such moves.

    Args:
        model: in eval mode.
        tokenizer: its tokenizer.
        world: whose train-split tasks of tier 1 are played, and how many.
        seed: of tasks and of sampling.
    """
    tasks = _draw_tasks(world, seed)
    if not tasks:
        return ()
    agent = TransformerAgent(model, tokenizer=tokenizer)

    def say(role: str, prompts: Sequence[str]) -> list[str]:
        return _say(agent, role, prompts, seed)

    asked = [f"<|user|> {task.prompt}<|end|>" for task in tasks]
    queries = say("attacker", [f"<|seed|> {task.prompt}<|end|>" for task in tasks])
    answers = say("learner", asked)
    answered = [
        f"{prompt}<|learner|> {answer}<|end|>"
        for prompt, answer in zip(asked, answers, strict=True)
    ]
    verdicts = say("critic", answered)
    judged = [
        f"{prompt}<|critic|> {verdict}<|end|>"
        for prompt, verdict in zip(answered, verdicts, strict=True)
    ]
    revisions = say("learner", judged)
    return (
        _share(
            "attacker",
            queries,
            lambda q, _: world.source.parse(q, "train") is not None,
            tasks,
        ),
        _share("learner", answers, lambda answer, task: answer in task.choices, tasks),
        _share("critic", verdicts, lambda verdict, _: _is_verdict(verdict), tasks),
        _share("reviser", revisions, lambda answer, task: answer in task.choices, tasks),
    )


def _say(
    agent: TransformerAgent, role: str, prompts: Sequence[str], seed: int
) -> list[str]:
    """Return what the agent says in a role after every prompt."""
    views = [
        View(
            episode=str(case),
            case=case,
            seat=f"{role}_0",
            role=role,
            turn=0,
            seed=mix(seed, case, len(role)),
            text=f"{prompt}<|{role}|>",
            max_new_tokens=_MAX_NEW,
        )
        for case, prompt in enumerate(prompts)
    ]
    return [fence(reply.text) for reply in agent.act(views)]


def _draw_tasks(world: World, seed: int) -> list[Task]:
    rng = generator(mix(seed, 0x303E5))
    drawn = (world.source.draw(rng, "train") for _ in range(_MAX_DRAWS * world.tasks))
    found = (task for task in drawn if task.choices and task.tier == 1)
    return [task for _, task in zip(range(world.tasks), found, strict=False)]


def _share(
    role: str,
    said: Sequence[str],
    works: Callable[[str, Task], bool],
    tasks: Sequence[Task],
) -> Metric:
    outcomes = [works(text, task) for text, task in zip(said, tasks, strict=True)]
    return share_metric("moves", outcomes, tags={"role": role})


def _is_verdict(text: str) -> bool:
    try:
        parse(text)
    except InvalidVerdict:
        return False
    return True
