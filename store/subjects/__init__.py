"""Subjects: who is one, as far as ids tell. Of an app, the ids that events named together, merged with care."""
