"""Datasets: two row formats, rules as data, a validator that reads a stream."""
