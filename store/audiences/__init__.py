"""Audiences and computed traits, as a partner's Segment Engage tells of its users."""
