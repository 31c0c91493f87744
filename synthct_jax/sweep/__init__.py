"""A sweep makes runs: variants of an experiment with several seeds each.

`plan_file` says which runs there are and what of each is done, `runner` does the rest,
`table` compares the variants by `evaluation.comparison`, `pictures` shows their slices.
"""
