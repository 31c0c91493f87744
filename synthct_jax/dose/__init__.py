"""Dose of a plan on a synthetic CT, beside that on the reference CT."""
