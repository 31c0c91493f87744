"""The report of an evaluation, and the page kit that all reports share."""
