"""Convolution, normalization and padding, implemented for each platform."""
