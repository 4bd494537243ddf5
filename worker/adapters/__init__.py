"""The edge: one outside system to a room, its errors translated once."""
