"""What a job reads, one kind per module: `parts` cuts a source into units, `read` yields a unit's samples."""
