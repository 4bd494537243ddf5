"""Outcomes, agreements and refused events: what is written for a token, in one transaction."""
