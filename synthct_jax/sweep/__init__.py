"""Variants and seeds of an experiment: trained, evaluated, and set side by side.

`sweep` runs them, in a `folder`; `table` and `pictures` say what came out, `page`
writes it down.
"""
