"""What people do by hand at a command, audited, with the database's errors in their words."""
