"""The proof that nothing is lost, for an operator to run: real processes, killed again and again, and a check of every
single event afterwards. It sees the collector and the exporter from outside only, as a sender and as Segment would.
"""
