"""Pairs of MR and CT simulated while training, by a new scanner for every sample."""
