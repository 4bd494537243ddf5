"""How fast all replicas together may call, found from what AWS throttles."""
