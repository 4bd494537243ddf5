"""Many replicas against one hidden quota, in virtual time: what a way of pacing comes to.

Event driven and seeded: the same seed gives the same calls. `python -m tests.simulation` prints
the tables of docs/pacing.md.
"""
