"""Where one buyer's token is."""
