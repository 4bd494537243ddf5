"""Background work on dead letters."""
