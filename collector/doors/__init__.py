"""One module per door: how messages come in, who may bring them, and what is refused at that door."""
