"""What leaves for a destination: an event as a partner's message, the request that carries it, what an answer means.

The exporter ships with it; the portal shows with it what was sent, and sends test events. It knows no database but what
the store's types say, and nobody's turn: when and how often is the exporter's.
"""
