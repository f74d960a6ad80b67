"""How good the vectors are: recall of retrieval and accuracy of zero-shot classification."""
