"""Designs of a study, and the values that it has unless others are given.

The command line reads this module at its start, so it imports nothing.
"""

REAL, SYNTHETIC = "real", "synthetic"
LEFT, RIGHT = "left", "right"
SINGLE, PAIR = "single", "pair"

ANSWERS = {SINGLE: (REAL, SYNTHETIC), PAIR: (LEFT, RIGHT)}
"""Answers of each design: what the case is, or which side is synthetic."""

SLICES = 7  # of a case
REPEATS = 0.2  # share of the trials that is shown twice
MARGIN = 0.1  # distance of the accuracy from 1/2 that counts as guessing

READER_SD, CASE_SD = 0.05, 0.15
"""Standard deviations of the accuracy between readers and between cases: assumed, until
a pilot has measured them."""
