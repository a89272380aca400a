"""What hardening is made of: planted examples for critics, and scores that critics expect.

Gold is met in one place only: planted answers, which the environment gives to critics. All
else is a critic's verdicts on requests of the training split.
"""
