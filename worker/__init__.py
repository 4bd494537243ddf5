"""resolution-worker: AWS Marketplace registration tokens, resolved and settled."""

__version__ = "0.1.0"
