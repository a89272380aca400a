"""The budgeted human channel: what is asked, and who answers it.

`selection` chooses the questions, `superalign_env.store.questions` keeps the queue,
people answer at the `terminal`, `simulated` annotators stand in for them. They say how good
something is, or write what ought to have been said (`authoring`).
"""
