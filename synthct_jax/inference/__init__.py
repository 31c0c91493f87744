"""Generators applied to volumes, and pictures of their output."""
