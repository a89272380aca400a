"""Who supervises a generation, what they say, and what it comes to all together.

`settings` names the sources, `checking` finds settings that contradict each other before
anything is trained, `statements` holds what was said, `combining` makes one label of it,
`reliability` weighs sources without the truth, `matrices` says how alike they err.
"""
