"""Cost of a training step on devices that need not exist."""
