"""Vocabulary of the world, without the meaning of the words.

The list is short on purpose: embeddings dominate models of a few thousand parameters.
What the words are worth is hidden and lives in `values`.
"""

WORLD_VERSION = "microworld-v1"
"""Written into every rung of a ladder. Changes whenever words, truth or splits change."""

SPECIAL_TOKENS: tuple[str, ...] = (
    "<|pad|>",
    "<|end|>",
    "<|system|>",
    "<|seed|>",
    "<|user|>",
    "<|attacker|>",
    "<|learner|>",
    "<|critic|>",
    "<|judge|>",
    "<|debater|>",
    "<|supervisor|>",
    "<|human|>",
    "<|tool|>",
    "<|world|>",
)
"""Role markers and controls; never producible by text. ``<|end|>`` closes an utterance."""

DIMENSIONS: tuple[str, ...] = ("harm", "honesty", "privacy", "fairness")
"""What people care about; each has its own verbs and objects."""

VERBS: tuple[tuple[str, ...], ...] = (
    ("drop", "burn", "wash", "throw", "carry", "swing"),
    ("bend", "read", "forge", "quote", "copy", "trim"),
    ("share", "sell", "print", "leak", "store", "post"),
    ("deny", "favor", "count", "cut", "rig", "skip"),
)
"""By dimension."""

OBJECTS: tuple[tuple[str, ...], ...] = (
    ("knife", "spoon", "bomb", "rope", "torch", "ladder"),
    ("joke", "contract", "poem", "report", "review", "receipt"),
    ("diary", "address", "letter", "map", "password", "photo"),
    ("queue", "job", "snack", "vote", "game", "grade"),
)
"""By dimension."""

TARGETS: tuple[str, ...] = (
    "clerk",
    "baby",
    "wall",
    "nurse",
    "rock",
    "orphan",
    "driver",
    "student",
    "child",
    "tower",
    "guard",
    "tourist",
    "bridge",
    "neighbor",
    "farmer",
    "patient",
)

CONTEXTS: tuple[str, ...] = (
    "secretly",
    "today",
    "licensed",
    "quietly",
    "angrily",
    "supervised",
    "outside",
    "covertly",
    "training",
    "slowly",
)

NAMES: tuple[str, ...] = (
    "ann",
    "bob",
    "cara",
    "dan",
    "eve",
    "finn",
    "gina",
    "hugo",
    "iris",
)

POLARITIES: tuple[str, ...] = ("help", "stop")
ANSWERS: tuple[str, ...] = ("comply", "refuse")
REQUEST_WORDS: tuple[str, ...] = ("will", "near", ",", ";", *POLARITIES, *ANSWERS)

GOOD_OUTCOMES: tuple[str, ...] = ("calm", "thanks", "relief", "smiles", "order", "peace")
"""What follows when the right thing was done."""
BAD_OUTCOMES: tuple[str, ...] = ("panic", "alarm", "damage", "tears", "outcry", "ruin")
"""What follows when something harmful was done."""
UNMET_OUTCOMES: tuple[str, ...] = ("delay", "waste", "gloom")
"""What follows when a benign request was refused."""
JUDGEMENTS: tuple[str, ...] = ("right", "wrong")
"""What the world says of an exercise."""

LEVELS: tuple[str, ...] = ("safe", "mild", "risky", "grave")
"""Adjectives of facts: ``knife is risky``. Index = hidden level of verb, object, target."""
CONTEXT_LEVELS: tuple[str, ...] = ("approved", "plain", "shady")
"""Adjectives of contexts, from −3 to +3."""
FACT_WORDS: tuple[str, ...] = ("is", *LEVELS, *CONTEXT_LEVELS)

DIGITS: tuple[str, ...] = tuple("0123456789")
OPERATORS: tuple[str, ...] = ("+", "-", "*")
ARITHMETIC_WORDS: tuple[str, ...] = ("calc", *OPERATORS, "=", "ans")

LETTERS: tuple[str, ...] = tuple("abcdefgh")
STRING_OPERATIONS: tuple[str, ...] = ("rev", "rot", "swap", "next")
STRING_WORDS: tuple[str, ...] = ("code", *STRING_OPERATIONS)

CONSTRAINTS: tuple[str, ...] = ("with", "not", "start", "end")
WRITING_WORDS: tuple[str, ...] = ("write", "words", *CONSTRAINTS)
LEXICON: tuple[str, ...] = (
    "river",
    "stone",
    "lake",
    "tree",
    "bird",
    "cloud",
    "wind",
    "moon",
    "leaf",
    "sand",
    "snow",
    "fire",
    "rain",
    "star",
    "hill",
    "frog",
)
"""Words that constrained writing asks for."""

FAULT_KINDS: tuple[str, ...] = ("harm", "over-refusal", "wrong", "format")
VERDICT_WORDS: tuple[str, ...] = ("score", "sure", "fault", "at", "note", *FAULT_KINDS)

GROUPS: tuple[str, ...] = ("everyone", "guardians", "libertines", "elders")
"""Groups of people who draw the line at different places."""

COMMANDS: tuple[str, ...] = ("list", "open", "send")
THINGS: tuple[str, ...] = ("notes", "log", "mail", "key")
TOOL_WORDS: tuple[str, ...] = ("run", *COMMANDS, *THINGS, "ok", "denied")

VOCABULARY: tuple[str, ...] = tuple(
    dict.fromkeys(
        (
            *(word for words in VERBS for word in words),
            *(word for words in OBJECTS for word in words),
            *TARGETS,
            *CONTEXTS,
            *NAMES,
            *REQUEST_WORDS,
            *GOOD_OUTCOMES,
            *BAD_OUTCOMES,
            *UNMET_OUTCOMES,
            *JUDGEMENTS,
            *FACT_WORDS,
            *DIGITS,
            *ARITHMETIC_WORDS,
            *LETTERS,
            *STRING_WORDS,
            *WRITING_WORDS,
            *LEXICON,
            *VERDICT_WORDS,
            *DIMENSIONS,
            *GROUPS,
            *TOOL_WORDS,
        )
    )
)
"""Every word once, in a fixed order: token ids may depend on it."""
