"""What stands in for the outside world: AWS, private servers, a demo.

The worker imports none of it.
"""
