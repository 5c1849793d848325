"""The process that people and servers talk to: the doors, the served snippet, and the demo's marketplace.

Every door ends in one `ingest()`, and every answer of success is sent after the fsync of what it speaks of.
"""
