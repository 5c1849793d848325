"""The state of an installation: one line per question."""
