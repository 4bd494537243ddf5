"""The way of a token through the process, from its delivery to its ack."""
