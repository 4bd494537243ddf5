"""`dead-letters`: what was given up, why, what can still be redeemed, and what to do about it."""
