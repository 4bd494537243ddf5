"""Workers to measure beside, each a program of its own."""
