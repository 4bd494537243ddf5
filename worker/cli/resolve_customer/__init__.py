"""`resolve-customer`: resolves one token by hand, with the options and output of the AWS CLI.

The AWS CLI is slow to start, so nothing here is imported before it is needed: botocore only for a
call, the worker's settings and the database only where they are used.
"""

from worker.cli.resolve_customer.command import main

__all__ = ["main"]
