"""Configurations that ship: `--config=phantom:in` names one of these files.

A configuration of one's own is a file with `get_config()`; it can start from one here:
`from synthct_jax.configs import folder`.
"""
