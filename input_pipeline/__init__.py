"""Files to arrays and back: scans, phantoms, prepared data sets. Never imports JAX."""
