"""Which runs, or variants with several seeds, are better on the same subjects.

`inputs` reads evaluations and matches their subjects, `differences` takes the numbers,
`compare` returns a `Comparison`; `tables`, `comparison_page` and `documents` show it.
"""
