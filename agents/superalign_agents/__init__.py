"""Agents that can hold a seat. The table below is the table of contents."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # PLUGINS must exist before superalign_env reads it
    from superalign_env.registry import Table

PLUGINS: "Table" = {
    "agent": {
        "always-comply": (
            "superalign_agents.scripted:always_comply",
            "complies with everything: useful, never safe",
        ),
        "always-refuse": (
            "superalign_agents.scripted:always_refuse",
            "refuses everything: safe, never useful",
        ),
        "best-of": (
            "superalign_agents.wrappers:BestOf",
            "self-consistency: the most frequent of n replies of another agent",
        ),
        "classifier": (
            "superalign_agents.classifier:ClassifierCritic",
            "a critic made of a guard or a reward model",
        ),
        "endpoint": (
            "superalign_agents.endpoint:EndpointAgent",
            "a model behind an OpenAI-compatible server",
        ),
        "ensemble": (
            "superalign_agents.wrappers:EnsembleCritic",
            "several critics as one, as sure as they agree",
        ),
        "fixed": ("superalign_agents.scripted:Fixed", "one text, always"),
        "guard": (
            "superalign_agents.guard:GuardCritic",
            "a language model as a critic, read in the output form of a guard",
        ),
        "human": ("superalign_agents.human:Human", "a person at the terminal"),
        "keyword": (
            "superalign_agents.keyword:KeywordCritic",
            "a critic that matches listed words",
        ),
        "persona": (
            "superalign_agents.wrappers:PersonaCritic",
            "a chat agent with a persona as its system message",
        ),
        "questioner": (
            "superalign_agents.questioner:Questioner",
            "PAIR- and TAP-like search: a model rewrites, a target is asked, the best go on",
        ),
        "random-menu": (
            "superalign_agents.scripted:RandomMenu",
            "a random entry of the view's menu",
        ),
        "replay": (
            "superalign_agents.scripted:ReplayAgent",
            "the replies of recorded episodes",
        ),
        "sb3": (
            "superalign_agents.sb3:Sb3Agent",
            "a policy that Stable-Baselines3 trained, choosing from the menu",
        ),
        "scripted": ("superalign_agents.scripted:Scripted", "the lines of a script"),
        "search": (
            "superalign_agents.search:Search",
            "seeded search over the view's menu, guided by what worked before",
        ),
        "strategies": (
            "superalign_agents.strategies:Strategies",
            "an attacker that rewrites the seed by strategy templates of the literature",
        ),
        "transformer": (
            "superalign_agents.transformer:TransformerAgent",
            "a causal language model on this machine",
        ),
    },
    "reader": {
        "agent": (
            "superalign_agents.references:make_agent",
            "an agent reference: an id, a rung, a model, a mapping",
        ),
    },
    "command": {
        "evaluate": (
            "superalign_agents.play_commands:evaluate",
            "measure agents on held-out cases, beside others if you like",
        ),
        "grade": (
            "superalign_agents.regrading:grade",
            "have another judge read stored answers",
        ),
        "play": (
            "superalign_agents.play_commands:play",
            "play episodes in the terminal, with people if you like",
        ),
    },
}
