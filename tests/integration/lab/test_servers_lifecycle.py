"""Private servers start, serve, survive faults and leave nothing behind."""

import asyncio
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import asyncpg
import psutil
import pytest
from aio_pika.exceptions import ChannelNotFoundEntity

from worker.lab.servers import ServiceError, Services, postgres, postgresql, rabbitmq, services
from worker.lab.servers.ports import LOOPBACK, free_ports


def _descendants() -> set[psutil.Process]:
    return {
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
    }


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made during the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def nothing_left(temporary: Path) -> Iterator[None]:
    """Fails a test that leaves a process or a temporary folder."""
    before = _descendants()
    yield
    # What a server that others use has started meanwhile is none of the test's.
    others = {process.pid for process in before}
    assert {
        each for each in _descendants() - before if _parent(each) not in {None, *others}
    } == set()
    assert list(temporary.glob("resolution-*")) == []


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None


async def _one(dsn: str) -> int:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return int(await connection.fetchval("SELECT 1", timeout=2))
    finally:
        connection.terminate()


async def _serve(both: Services) -> None:
    """Make sure that both answer."""
    assert await _one(both.postgres.dsn) == 1
    async with await aio_pika.connect(both.rabbitmq.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        await channel.declare_queue("mine", durable=True)
    assert "mine" in await both.rabbitmq.ctl("list_queues", "name")


@pytest.mark.long
async def test_two_instances_serve_side_by_side() -> None:
    """Two pairs of servers run at once, each answering at its own address."""
    async with services() as one, services() as other:
        await asyncio.gather(_serve(one), _serve(other))
        assert one.postgres.port != other.postgres.port
        assert one.rabbitmq.port != other.rabbitmq.port


@pytest.mark.long
async def test_servers_listen_on_loopback_alone(temporary: Path) -> None:
    """No process of the servers takes connections from another machine."""
    before = _descendants()
    async with services():
        listening = {
            connection.laddr.ip
            for process in _descendants() - before
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
    assert listening
    assert listening <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.5, 3.0])
async def test_cancelled_start_leaves_nothing(seconds: float) -> None:
    """A start that is cancelled at any moment ends what it had started."""

    async def start() -> None:
        async with services():
            await asyncio.sleep(60)

    task = asyncio.create_task(start())
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_failed_block_leaves_nothing(tmp_path: Path) -> None:
    """An exception in the block passes through, after the server has ended."""
    with pytest.raises(ZeroDivisionError):
        async with postgres(tmp_path / "server") as running:
            1 / 0  # noqa: B018 - the fault
    assert not running.server.alive


async def test_postgres_keeps_committed_rows_when_killed(tmp_path: Path) -> None:
    """A killed PostgreSQL starts again at the same address with what was committed."""
    async with postgres(tmp_path / "server") as running:
        connection = await asyncpg.connect(running.dsn)
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        running.server.kill()
        with pytest.raises(OSError, match=r"refused|failed"):
            await _one(running.dsn)
        connection.terminate()
        await running.server.start()
        connection = await asyncpg.connect(running.dsn)
        assert await connection.fetchval("SELECT number FROM kept") == 7
        connection.terminate()


async def test_postgres_stops_in_order_and_starts_again(tmp_path: Path) -> None:
    """A stopped PostgreSQL has ended when `stop` returns, and may be started again."""
    async with postgres(tmp_path / "server") as running:
        await running.server.stop()
        assert not running.server.alive
        await running.server.start()
        assert await _one(running.dsn) == 1


async def test_frozen_postgres_answers_nothing_until_thawed(tmp_path: Path) -> None:
    """A frozen server keeps its connections and stays silent; thawed, it goes on."""
    async with postgres(tmp_path / "server") as running:
        connection = await asyncpg.connect(running.dsn)
        running.server.freeze()
        answer = asyncio.create_task(connection.fetchval("SELECT 1"))
        await asyncio.sleep(0.5)
        assert not answer.done()
        running.server.thaw()
        assert await answer == 1
        running.server.freeze()  # and a frozen one can be ended
        connection.terminate()


@pytest.mark.long
async def test_rabbitmq_keeps_queues_when_killed(tmp_path: Path) -> None:
    """A killed RabbitMQ starts again at the same address with its durable queues and messages."""
    async with rabbitmq(tmp_path / "server") as running:
        async with await aio_pika.connect(running.amqp_url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("kept", durable=True)
            await channel.declare_queue("lost", durable=False)
            message = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, "kept")  # confirmed once on disk
            await running.sync()
        running.server.kill()
        await running.server.start()
        async with await aio_pika.connect(running.amqp_url) as connection:
            channel = await connection.channel()
            kept = await channel.get_queue("kept")
            assert kept.declaration_result.message_count == 1
            with pytest.raises(ChannelNotFoundEntity):  # it has ended, and not just been away
                await channel.declare_queue("lost", passive=True)


async def test_a_port_lost_meanwhile_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose port another process took before it could starts on another one."""
    with socket.create_server((LOOPBACK, 0)) as thief:
        taken = thief.getsockname()[1]
        offers = iter([[taken], free_ports(1)])
        monkeypatch.setattr(postgresql, "free_ports", lambda _: next(offers))
        async with postgres(tmp_path / "server") as running:
            assert running.port != taken
            assert await _one(running.dsn) == 1


async def test_missing_rabbitmq_names_the_remedy(tmp_path: Path) -> None:
    """Where RabbitMQ is not installed, the error says how to install it."""
    with pytest.raises(ServiceError, match="apt-get install rabbitmq-server"):
        async with rabbitmq(tmp_path / "server", home=tmp_path / "absent"):
            pass


async def test_superuser_needs_its_password(tmp_path: Path) -> None:
    """Another user of this machine does not become PostgreSQL's superuser."""
    async with postgres(tmp_path / "server") as running:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await _one(running.dsn_of("postgres", "postgres:wrong"))
