"""The batch job: any number of pictures and texts of a source to shards of vectors in a folder."""
