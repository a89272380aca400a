"""How policies are improved: one file for each algorithm, in the words of its paper.

What they are made of lies in `updates` (ours) and `trainers` (what TRL's do not do by
themselves). Nothing else imports trl.
"""
