"""Measurements of speed and memory on the devices at hand."""
