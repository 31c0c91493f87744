"""Preparation as an Apache Beam pipeline, for many machines."""
