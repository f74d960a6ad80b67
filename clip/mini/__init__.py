"""The embedded model `mini`: weights, sizes, vocabulary and the list of concepts it never saw; no code.

MODEL_CARD.md says how it was made and what it can and cannot do.
"""
