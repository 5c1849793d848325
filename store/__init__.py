"""What the collector and the exporter agree is stored: settings, ids, secrets, and every SQL statement.

Three databases of three natures: the registry (who and what there is), the event log (append-only, written by the
collector alone) and the ledger (what each destination was sent, written by the exporter alone). Whoever does not own a
database opens it read-only; that one rule keeps locks apart and keeps clear of SQLite's WAL-reset fault.
"""
