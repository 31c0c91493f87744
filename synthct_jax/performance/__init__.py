"""The cost of a training step: counted, planned for other devices, measured."""
