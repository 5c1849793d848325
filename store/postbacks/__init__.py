"""Postbacks as they are kept: who is told the results of attribution, what each is owed, and how it fares."""
