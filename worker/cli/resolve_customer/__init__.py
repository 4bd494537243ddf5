"""`resolve-customer`: one token by hand, as users of the AWS CLI know it.

Start-up is what the AWS CLI is slow at, so nothing here is imported before it is needed: botocore
when a call is to be made, the worker's settings and the database only for what asks for them.
"""

from worker.cli.resolve_customer.command import main

__all__ = ["main"]
