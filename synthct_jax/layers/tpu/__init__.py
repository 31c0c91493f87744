"""Layers for TPUs: full-resolution layers on space-to-depth blocks."""
