"""The price of a token and the wait for its answer, beside other workers in the same run."""
