"""Layers for CPUs: convolutions as matrix products, by oneDNN where available."""
