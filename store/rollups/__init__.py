"""The rollups: sets of visitors and numbers of events by facet and half-hour, kept beside the log."""
