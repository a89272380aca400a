"""Training: algorithms, policies, self-play, measurement. The table lists the modules."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # PLUGINS must exist before superalign_env reads it
    from superalign_env.registry import Table

PLUGINS: "Table" = {
    "alarm": {
        "behaviour-gap": (
            "superalign_training.oversight.alarms.behaviour:BehaviourGap",
            "behaviour differs between training and held-out requests",
        ),
        "collapse": (
            "superalign_training.oversight.alarms.behaviour:Collapse",
            "large loss of diversity in the answers to a task family",
        ),
        "collusion": (
            "superalign_training.oversight.alarms.labels:Collusion",
            "critics pass the learner's bad answers more often than planted ones",
        ),
        "divergence": (
            "superalign_training.oversight.alarms.labels:Divergence",
            "critics score the learner's answers above people's labels",
        ),
        "imitation": (
            "superalign_training.oversight.alarms.labels:Imitation",
            "consecutive generations copy their labels' mistakes",
        ),
        "non-salient": (
            "superalign_training.oversight.alarms.labels:NonSalient",
            "neither fits its labels nor is confident of its own answers",
        ),
        "over-refusal": (
            "superalign_training.oversight.alarms.labels:OverRefusal",
            "high share of refusals where people wanted an answer",
        ),
        "refusal-jump": (
            "superalign_training.oversight.alarms.behaviour:RefusalJump",
            "one answer to nearly every task, new in this round",
        ),
        "trend-break": (
            "superalign_training.oversight.alarms.behaviour:TrendBreak",
            "a statistic changes far beyond its earlier changes",
        ),
        "untaught-critic": (
            "superalign_training.oversight.alarms.labels:UntaughtCritic",
            "critic accuracy on planted answers no better than chance",
        ),
    },
    "algorithm": {
        "dpo": (
            "superalign_training.algorithms.dpo:Dpo",
            "direct preference optimisation: sigmoid, conservative or robust",
        ),
        "grpo": (
            "superalign_training.algorithms.grpo:Grpo",
            "group-relative policy optimisation on environment rewards",
        ),
        "kto": (
            "superalign_training.algorithms.kto:Kto",
            "Kahneman-Tversky optimisation on unpaired preferences",
        ),
        "own": (
            "superalign_training.algorithms.own:Own",
            "a self-improving learner of yours, with rollouts per step",
        ),
        "ppo": (
            "superalign_training.algorithms.ppo:Ppo",
            "proximal policy optimisation with a learned value function",
        ),
        "reinforce": (
            "superalign_training.algorithms.reinforce:Reinforce",
            "REINFORCE with a running mean of each role's reward as baseline",
        ),
        "reward-model": (
            "superalign_training.algorithms.reward_model:RewardModel",
            "a reward model trained on preferences (Bradley-Terry)",
        ),
        "rloo": (
            "superalign_training.algorithms.rloo:Rloo",
            "REINFORCE with a leave-one-out baseline, on environment rewards",
        ),
        "sb3-ppo": (
            "superalign_training.algorithms.sb3.sb3_ppo:Sb3Ppo",
            "Stable-Baselines3's PPO on features and menus, for the agent sb3",
        ),
        "sft": (
            "superalign_training.algorithms.sft:Sft",
            "supervised fine-tuning on recorded token ids",
        ),
        "weak-to-strong": (
            "superalign_training.algorithms.weak_to_strong:WeakToStrongTraining",
            "learning from weaker supervisors' labels: naive, confidence, confident-only",
        ),
    },
    "command": {
        "experiment": (
            "superalign_training.experiments.commands:experiment",
            "run an experiment over seeds, with intervals",
        ),
        "fork": (
            "superalign_training.cli.commands:fork",
            "continue a run in a new folder, with other settings",
        ),
        "gap": (
            "superalign_training.gap.commands:app",
            "train the learned gap controller, test controllers on a surrogate of a chain",
        ),
        "ladder": (
            "superalign_training.ladder.commands:app",
            "build, show and fetch ladders of models",
        ),
        "train": (
            "superalign_training.cli.commands:train",
            "train attacker, learner and critic in rounds of self-play",
        ),
    },
    "evaluation": {
        "microworld-critics": (
            "superalign_training.experiments.microworld.critic_report:CriticProbes",
            "quality of the final critic: calibration, invented faults, order and length bias",
        ),
        "microworld-survey": (
            "superalign_training.experiments.microworld.coverage:Survey",
            "share of the learner's exact failure set that the attackers' archive found",
        ),
    },
    "experiment": {
        "first-self-play": (
            "superalign_training.experiments.first_self_play:EXPERIMENT",
            "does the learner improve in three rounds, and is it really robust?",
        ),
        "gap": (
            "superalign_training.experiments.gap:EXPERIMENT",
            "which schedule of capability gaps leaves the best student?",
        ),
        "human-pay": (
            "superalign_training.experiments.human_pay:EXPERIMENT",
            "do people's answers help as pay, and how many are needed?",
        ),
        "learning": (
            "superalign_training.experiments.learning:EXPERIMENT",
            "does pay at the end teach what to do first: PPO, GRPO, SB3's PPO",
        ),
        "orders": (
            "superalign_training.experiments.orders:EXPERIMENT",
            "values along the chain, at its end, first, or never: what remains of hazards",
        ),
        "real-language": (
            "superalign_training.experiments.real_language:EXPERIMENT",
            "does a real instruct model learn to refuse more selectively, not only more?",
        ),
        "robustness": (
            "superalign_training.experiments.robustness:EXPERIMENT",
            "how far do attackers come who never met the hardened learner?",
        ),
    },
    "gap": {
        "adaptive": (
            "superalign_training.gap.adaptive:Adaptive",
            "larger while signals are clean and students gain, smaller after trouble",
        ),
        "direct": (
            "superalign_training.gap.schedules:Direct",
            "from people to the top of the ladder in one step",
        ),
        "fixed-large": (
            "superalign_training.gap.schedules:FixedLarge",
            "the same number of levels a generation, more than one",
        ),
        "fixed-small": (
            "superalign_training.gap.schedules:FixedSmall",
            "one level a generation",
        ),
        "learned": (
            "superalign_training.gap.learned:Learned",
            "a policy trained by PPO on a surrogate of a chain",
        ),
        "linear": (
            "superalign_training.gap.schedules:Linear",
            "gaps that grow linearly: the annealing that the papers propose",
        ),
        "oracle": (
            "superalign_training.gap.adaptive:Oracle",
            "reads gold accuracies: an upper bound for comparison",
        ),
        "probing": (
            "superalign_training.gap.adaptive:Probing",
            "slow where that keeps labels clean, fast where it does not",
        ),
        "reverse": (
            "superalign_training.gap.schedules:Reverse",
            "gaps that shrink linearly",
        ),
    },
    "logger": {
        "tensorboard": (
            "superalign_training.loggers.tensorboard:TensorBoard",
            "scalars in the run's folder, a line for each role",
        ),
        "trackio": (
            "superalign_training.loggers.trackio:Trackio",
            "local dashboards of Hugging Face",
        ),
        "wandb": (
            "superalign_training.loggers.wandb:Wandb",
            "a run of Weights & Biases",
        ),
    },
    "world": {
        "microworld": (
            "superalign_training.experiments.microworld.ladder:micro_world",
            "text, words and held-out tasks that the micro rungs are pre-trained on",
        ),
    },
}
