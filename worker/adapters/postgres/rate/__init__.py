"""What the replicas of a seller account share: rate, leases, and an operator's word."""
