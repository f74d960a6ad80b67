"""Pictures of strangers decoded in processes of their own; none of these modules needs torch."""
