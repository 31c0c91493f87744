"""Checkpoints of a run: saving, restoring, digests and metadata."""
