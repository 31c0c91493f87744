"""Scans or phantoms to a prepared data set."""
