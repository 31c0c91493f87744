"""Several evaluations side by side, and what differs on the same subjects.

`compare` reads `runs`, finds the `subjects` in common and takes differences of
their `measures`: `side_by_side` holds it all, `page` and `files` write it down.
"""
