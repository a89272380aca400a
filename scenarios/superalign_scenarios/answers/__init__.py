"""Answers to requests, read as people would read them: see docs/answers.md."""

from superalign_scenarios.answers.answer_reader import VERSION, read_answer, same_meaning

__all__ = ["VERSION", "read_answer", "same_meaning"]
