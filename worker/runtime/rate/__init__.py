"""The pace of this replica's calls, and its lease of the shared rate."""
