"""A fake Segment: a real server that answers like Segment's HTTP Tracking API and keeps what would land.

Used by the tests, by the demo and in development. Like the real one it answers 200 to almost everything; unlike the
real one it tells afterwards, under `/_/`, what became of every message.
"""
