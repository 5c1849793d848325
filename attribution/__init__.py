"""Which campaign brought an install: what events tell of it, the decision and its reasons, and how models share credit.

All of it is pure. The exporter follows the log with it and writes the ledger; the portal explains with the same types.
"""
