"""The process that talks to others: one run ships every app's events to its partner's own Segment source.

Deciding is pure (mapping, batching, verdicts on answers); only segment.py sees a socket, only run.py a clock.
"""
