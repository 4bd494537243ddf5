"""What becomes of a token: decisions, returned and not acted upon."""
