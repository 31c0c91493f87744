"""The process and its run: environment, signals, progress, logs. No networks."""
