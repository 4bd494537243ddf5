"""What is kept of submissions that were given up, and what on-call does with it."""
