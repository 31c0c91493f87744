"""Adaptation of a model to the scans of one site, accepted only if it is no worse."""
