"""The method: networks, losses, optimisers, training state and one training step."""
