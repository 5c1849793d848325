"""Measurements, each against a limit or a peer of the same run; see __main__ for the list."""
