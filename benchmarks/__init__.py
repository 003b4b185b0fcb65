"""Timing goals, measured beside a reference in the same run: ``make bench`` prints a table."""
