"""What a configuration asks of devices that are not there: see `plan.plan`."""
