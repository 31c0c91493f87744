"""A prepared data set: its manifest, batches for training, whole volumes."""
