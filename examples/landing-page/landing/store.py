"""What the landing page remembers, in SQLite, shared by all its processes."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, Self, TypeVar

from landing.records import Agreement, Answered, Customer, Setup
from resolution_client import Failed, Pending, Rejected, Resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from resolution_client import Answer, Outcome

P = ParamSpec("P")
T = TypeVar("T")

KEPT_SECONDS: Final = 30 * 24 * 3600
LEASE_SECONDS: Final = 60.0
_BUSY_SECONDS: Final = 10.0
_SCHEMA: Final = Path(__file__).with_name("schema.sql")


class Store:
    """A connection to the database, for one thread. Every method is one short transaction.

    Args:
        path: The file; made if it is missing, for its owner alone.

    Raises:
        OSError: It can't be made or written.
    """

    def __init__(self, path: Path) -> None:
        # Only if it is missing: when a process closes a file, all its locks on that file are gone,
        # also those of its other connections, and another process removes what they write.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        if not os.access(path, os.W_OK):  # SQLite would open it all the same, and only read
            raise PermissionError(f"{path} can't be written")
        self._path = path
        self._sql = self._connect()
        self._make_tables()
        self._watched = self._connect()  # a connection is not told of what it changed itself

    def _make_tables(self) -> None:
        (version,) = self._sql.execute("PRAGMA user_version").fetchone()
        if version:
            return
        with self._writing():
            for statement in _SCHEMA.read_text(encoding="utf-8").split(";"):
                self._sql.execute(statement)

    def _connect(self) -> sqlite3.Connection:
        sql = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        sql.row_factory = sqlite3.Row
        sql.execute("PRAGMA journal_mode = WAL")
        return sql

    def close(self) -> None:
        """Close it."""
        self._watched.close()
        self._sql.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._sql.in_transaction:  # a full disk has ended it already
                self._sql.execute("ROLLBACK")
            raise
        self._sql.execute("COMMIT")

    def version(self) -> int:
        """A number that is another one after any process has changed the database."""
        (number,) = self._watched.execute("PRAGMA data_version").fetchone()
        return int(number)

    # --- set-ups and answers ---

    def begin(self, number: int, secret_sha256: str, answer: Answer, now: float) -> None:
        """Remember that the browser with this secret has brought a token, and its answer if any."""
        with self._writing():
            self._sql.execute(
                "INSERT INTO setups VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (
                    number,
                    secret_sha256,
                    answer.message_id,
                    answer.token_sha256 or "",
                    answer.support_code,
                    now,
                ),
            )
            if not isinstance(answer, Pending):
                self._record(answer, now)

    def record(self, answer: Outcome, now: float) -> None:
        """Remember what became of a submission, whoever made it; hearing it twice does no harm."""
        with self._writing():
            self._record(answer, now)

    def _record(self, answer: Outcome, now: float) -> None:
        customer = _customer(answer) if isinstance(answer, Resolved) else None
        self._sql.execute(
            "INSERT INTO answers VALUES (:id, :outcome, :repeated, :key, :product, :account,"
            " :settled, :now) ON CONFLICT (message_id) DO UPDATE SET outcome = excluded.outcome,"
            " repeated = excluded.repeated, agreement_key = excluded.agreement_key,"
            " product_code = excluded.product_code, account = excluded.account,"
            " settled_at = excluded.settled_at, at = excluded.at"
            # Resolved is final. A replay may save what had failed; it is the later one.
            " WHERE outcome <> 'resolved' AND settled_at < excluded.settled_at",
            {
                "id": answer.message_id,
                "outcome": _outcome(answer),
                "repeated": answer.repeated or _is_malformed(answer),
                "key": customer and customer.agreement_key,
                "product": customer and customer.product_code,
                "account": customer and customer.account,
                "settled": answer.settled_at.isoformat(timespec="microseconds"),
                "now": now,
            },
        )
        if isinstance(answer, Resolved):
            self._sql.execute(
                "INSERT INTO agreements (agreement_key, product_code, account, agreement_id,"
                " due_at) VALUES (?, ?, ?, ?, 0) ON CONFLICT DO NOTHING",
                (*_of_customer(_customer(answer)), answer.agreement_id),
            )

    def setups(self, secrets_sha256: Sequence[str]) -> list[Setup]:
        """The set-ups of the browser that has these secrets, the oldest first."""
        rows = self._sql.execute(
            "SELECT number, secret_sha256, token_sha256, support_code, setups.at AS begun_at,"
            " used_at, outcome, repeated, agreement_key, product_code, account"
            " FROM setups LEFT JOIN answers USING (message_id)"
            " WHERE secret_sha256 IN (SELECT value FROM json_each(?)) ORDER BY setups.at, number",
            (json.dumps(secrets_sha256),),
        )
        return [_setup(row) for row in rows]

    def forget(self, secrets_sha256: Sequence[str]) -> None:
        """Forget set-ups, so that nothing can be gone on with in their browser."""
        with self._writing():
            self._sql.executemany(
                "DELETE FROM setups WHERE secret_sha256 = ?", [(each,) for each in secrets_sha256]
            )

    # --- provisioning ---

    def claim(self, now: float) -> Agreement | None:
        """An agreement to provision; for a minute no other process gets it."""
        # Most often there is none: that is found out without the lock that writers wait for.
        row = self._sql.execute(
            "SELECT agreement_key FROM agreements WHERE provisioned_at IS NULL AND due_at <= ?"
            " ORDER BY due_at LIMIT 1",
            (now,),
        ).fetchone()
        if row is None:
            return None
        row = self._sql.execute(
            "UPDATE agreements SET due_at = ?, tries = tries + 1 WHERE agreement_key = ?"
            " AND provisioned_at IS NULL AND due_at <= ?"  # unless another process was faster
            " RETURNING agreement_key, product_code, account, agreement_id, tries - 1",
            (now + LEASE_SECONDS, row["agreement_key"], now),
        ).fetchone()
        return row and Agreement(Customer(*row[:3]), *row[3:])

    def provisioned(self, agreement_key: str, now: float) -> None:
        """The hook has done its work."""
        self._sql.execute(
            "UPDATE agreements SET provisioned_at = ? WHERE agreement_key = ?", (now, agreement_key)
        )

    def not_provisioned(self, agreement_key: str, due_at: float) -> None:
        """The hook has failed: it is called again at this time."""
        self._sql.execute(
            "UPDATE agreements SET due_at = ? WHERE agreement_key = ?", (due_at, agreement_key)
        )

    def is_provisioned(self, agreement_key: str) -> bool:
        """Whether the hook has done its work."""
        row = self._sql.execute(
            "SELECT provisioned_at FROM agreements WHERE agreement_key = ?", (agreement_key,)
        ).fetchone()
        return row is not None and row[0] is not None

    # --- sessions ---

    def sign_in(self, secret_sha256: str, customer: Customer, number: int, now: float) -> None:
        """Open a session by the set-up with this number."""
        with self._writing():
            self._sql.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?)",
                (secret_sha256, *_of_customer(customer), now),
            )
            self._sql.execute(
                "UPDATE setups SET used_at = coalesce(used_at, ?) WHERE number = ?", (now, number)
            )

    def session(self, secret_sha256: str) -> Customer | None:
        """Whose session this is, if there is one."""
        row = self._sql.execute(
            "SELECT agreement_key, product_code, account FROM sessions WHERE secret_sha256 = ?",
            (secret_sha256,),
        ).fetchone()
        return row and Customer(*row)

    def sign_out(self, secret_sha256: str) -> None:
        """End a session."""
        self._sql.execute("DELETE FROM sessions WHERE secret_sha256 = ?", (secret_sha256,))

    def prune(self, now: float) -> None:
        """Forget what is older than 30 days, except which agreements were provisioned."""
        with self._writing():
            old = (now - KEPT_SECONDS,)
            self._sql.execute("DELETE FROM setups WHERE at < ?", old)
            self._sql.execute("DELETE FROM answers WHERE at < ?", old)
            self._sql.execute("DELETE FROM sessions WHERE at < ?", old)


class Background:
    """A store that is used from an event loop: its work is done in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "store")
        self._store: Store | None = None

    async def __aenter__(self) -> Self:
        self._store = await self._run(partial(Store, self._path))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._store is not None:
            await self._run(self._store.close)
        self._thread.shutdown()

    async def __call__(
        self, do: Callable[Concatenate[Store, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """Call a method of the store: `await store(Store.claim, now)`."""
        assert self._store is not None
        return await self._run(partial(do, self._store, *arguments, **named))

    async def _run(self, do: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do)


def _outcome(answer: Outcome) -> str:
    if isinstance(answer, Resolved):
        return "resolved"
    return "rejected" if isinstance(answer, Rejected) else "failed"


def _is_malformed(answer: Outcome) -> bool:
    """Whether the form was bad: then nobody asked AWS, so whoever sent it was not the first."""
    return isinstance(answer, Failed) and answer.status == "malformed"


def _customer(answer: Resolved) -> Customer:
    account = answer.customer_aws_account_id or answer.customer_identifier or ""
    return Customer(answer.agreement_key, answer.product_code, account)


def _of_customer(customer: Customer) -> tuple[str, str, str]:
    return customer.agreement_key, customer.product_code, customer.account


def _setup(row: sqlite3.Row) -> Setup:
    answer = None
    if row["outcome"] is not None:
        known = (row["agreement_key"], row["product_code"], row["account"])
        customer = Customer(*known) if row["outcome"] == "resolved" else None
        answer = Answered(row["outcome"], bool(row["repeated"]), customer)
    return Setup(
        row["number"],
        row["secret_sha256"],
        row["token_sha256"],
        row["support_code"],
        row["begun_at"],
        row["used_at"],
        answer,
    )
