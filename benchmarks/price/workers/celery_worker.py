"""The same small job as a Celery task, on boto3 and psycopg in a pool of threads.

Started by `celery worker`. The ack comes after the task (`task_acks_late`) and no result is kept.
"""

from __future__ import annotations

import os

import boto3
from botocore.config import Config
from celery import Celery
from psycopg_pool import ConnectionPool

_UPSERT = """
INSERT INTO celery_customer (token, account, product, license, resolved_at)
VALUES (%s, %s, %s, %s, now())
ON CONFLICT (token) DO UPDATE SET account = excluded.account, product = excluded.product,
    license = excluded.license, resolved_at = excluded.resolved_at
"""

app = Celery("celery_worker", broker=os.environ["WORKER_AMQP__URL"])
app.conf.update(
    task_default_queue="celery",
    task_default_queue_type="quorum",
    task_default_routing_key="token",
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_transport_options={"confirm_publish": True},
)

# A connection for each thread: boto3 throws away those above ten, and opens new ones.
connections = Config(max_pool_connections=int(os.environ["WORKER_POOL__CONCURRENCY"]))
client = boto3.client(
    "meteringmarketplace",
    region_name="us-east-1",
    endpoint_url=os.environ["WORKER_AWS__ENDPOINT_URL"],
    config=connections,
)
# As many, and as few transactions, as asyncpg's pool has by default.
pool = ConnectionPool(
    os.environ["WORKER_POSTGRES__DSN"],
    min_size=10,
    max_size=10,
    kwargs={"autocommit": True},
    open=True,
)


@app.task(name="resolve")
def resolve(registration_token: str) -> None:
    """Resolve one token."""
    answer = client.resolve_customer(RegistrationToken=registration_token)
    account, product = answer.get("CustomerAWSAccountId"), answer["ProductCode"]
    row = (registration_token, account, product, answer.get("LicenseArn"))
    with pool.connection() as connection:
        connection.execute(_UPSERT, row)
