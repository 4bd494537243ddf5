"""`--store`: stores the answer in the worker's database, as the worker would, and audits it."""

from __future__ import annotations

import asyncio
import getpass
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.postgres.errors import translated_without_rows
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.operator.audit import Entry, settle_audited
from worker.adapters.postgres.operator.errors import told_line
from worker.adapters.postgres.sessions import close_quietly, connector
from worker.adapters.postgres.stand_in import is_stand_in
from worker.cli.resolve_customer import notices, protections
from worker.cli.resolve_customer.faults import CommandFault, ConfigurationFault
from worker.cli.resolve_customer.worker_settings import all_settings
from worker.core.aws_errors import read_answer
from worker.core.exceptions import LedgerUnavailable, RowsRefused
from worker.core.records import DEFAULT_SELLER, Answer, Batch, Outcome, Submission, Token
from worker.core.token import verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import datetime

    from worker.cli.resolve_customer.client import Opened
    from worker.cli.resolve_customer.options import Options

_ACTION: Final = "resolve-customer.store"
_REASON: Final = "resolved by hand"
_CLOSE_SECONDS: Final = 1.0
_NO_RETRIES: Final = verdict.Policy(attempts=1, delays=("0s",))


def open_shelf(opened: Opened, options: Options) -> Shelf:
    """The database for the answer, checked before a call is made.

    Raises:
        ConfigurationFault: The settings or the endpoint can't be accepted.
        CommandFault: The database can't be reached, or is not ready.
    """
    settings = all_settings()
    endpoint = opened.client.meta.endpoint_url
    shelf = Shelf(settings.current_postgres_dsn, endpoint, _actor(options), options.reason)
    shelf.check()
    genuine = protections.is_aws(endpoint) and options.verify_ssl and opened.ca_bundle is None
    if not genuine and not shelf.is_stand_in():
        raise _forgery(endpoint, options)
    return shelf


def _forgery(endpoint: str, options: Options) -> ConfigurationFault:
    """Only AWS's answers may be stored, except in a database marked as a playground."""
    return ConfigurationFault(
        f'--store refuses the answers of "{endpoint}"'
        f"{_why(endpoint, options)}: a server there could forge customers. Call AWS's own "
        "endpoint with its certificate verified, or store in a database that is marked as a "
        "playground (WORKER_POSTGRES__DSN, `resolution-worker migrate --stand-in`)."
    )


def _why(endpoint: str, options: Options) -> str:
    if not protections.is_aws(endpoint):
        return ", which is not an endpoint of AWS's metering service"
    return (
        ", because of your own CA bundle" if options.verify_ssl else ", because of --no-verify-ssl"
    )


def _actor(options: Options) -> str:
    if options.actor:
        return options.actor
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise CommandFault("Your login name is not known: give your name with --actor.") from None


@dataclass(frozen=True, slots=True)
class Shelf:
    """The worker's database, for one answer.

    Attributes:
        dsn: Returns its address; called for each connection.
        endpoint: The endpoint that answered, for the audit.
        actor: Who stores, for the audit.
        reason: Why, for the audit.
    """

    dsn: Callable[[], str]
    endpoint: str
    actor: str
    reason: str | None

    def check(self) -> None:
        """Check that it can be written.

        Raises:
            CommandFault: It can't be; the message says what to do.
        """

        async def check() -> None:
            ledger = PostgresLedger(connector(self.dsn), readers=1)
            try:
                await ledger.check()
            finally:
                await ledger.close()

        _run(check())

    def is_stand_in(self) -> bool:
        """Whether it is marked as a playground.

        Raises:
            CommandFault: The query failed.
        """

        async def ask() -> bool:
            with translated_without_rows():
                connection = await connector(self.dsn)()
                try:
                    return await is_stand_in(connection)
                finally:
                    await close_quietly(connection, _CLOSE_SECONDS)

        return bool(_run(ask()))

    def keep(self, token: str, reply: dict[str, Any]) -> None:
        """Store an answer, and report the resulting outcome.

        Raises:
            CommandFault: The answer can't be used, or the database failed.
        """
        outcome = _outcome(token, reply, _run(self._now()))
        entry = Entry(self.actor, self.reason or _REASON, _ACTION, self._subject(outcome))
        batch = Batch(outcomes=(outcome,))
        stored = _run(settle_audited(connector(self.dsn), batch, entry))[outcome.key]
        repeated = (
            stored.message_id != outcome.message_id or stored.settled_at != outcome.settled_at
        )
        fingerprint = outcome.key.sha256.hex()
        if repeated:
            notices.tell(f"the token was resolved before; its outcome is unchanged ({fingerprint})")
        else:
            notices.tell(f"stored as resolved ({fingerprint})")

    async def _now(self) -> datetime:
        """The time of the database's clock, which all stored times use."""
        ledger = PostgresLedger(connector(self.dsn), readers=1)
        try:
            return await ledger.now()
        finally:
            await ledger.close()

    def _subject(self, outcome: Outcome) -> dict[str, str]:
        # Nothing that names a customer: the audit is kept after an erasure.
        return {
            "seller": outcome.key.seller,
            "token_sha256": outcome.key.sha256.hex(),
            "message_id": outcome.message_id,
            "endpoint": self.endpoint,
        }


def _outcome(token: str, reply: dict[str, Any], now: datetime) -> Outcome:
    answer = read_answer(reply)
    if not isinstance(answer, Answer):
        raise CommandFault(f"Nothing was stored: {answer.message}.")
    submission = Submission(
        token=Token.of(token),
        seller=DEFAULT_SELLER,
        message_id=f"resolve-customer-{uuid.uuid4()}",
        correlation_id=None,
        reply_to=None,
        offer_type=None,
        progress=False,
        metadata=None,
        received_at=now,
        first_seen=now,
    )
    tries = verdict.Tries(attempts=1)
    judged = verdict.after_call(submission, answer, tries, now=now, draw=0.0, policy=_NO_RETRIES)
    assert isinstance(judged, verdict.Store)  # an answer always settles
    return judged.outcome


def _run(asking: Coroutine[Any, Any, Any]) -> Any:
    try:
        return asyncio.run(asking)
    except (LedgerUnavailable, RowsRefused) as error:
        raise CommandFault(told_line(error)) from None
