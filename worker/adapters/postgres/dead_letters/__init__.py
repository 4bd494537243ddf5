"""Dead letters in the database: read, claimed, discarded, pruned."""
