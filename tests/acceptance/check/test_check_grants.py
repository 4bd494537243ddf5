"""The rights that `check` asks for are all those that `deploy/postgres/grants.sql` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.schema import connected, prepare
from worker.adapters.postgres.operator.inspection import inspecting

if TYPE_CHECKING:
    from harness.schema import Schema
    from harness.servers import Database

_GRANTED = """
SELECT privilege_type || ' ON resolution.' || table_name AS revoked
FROM information_schema.role_table_grants
WHERE grantee = '{role}' AND table_schema = 'resolution'
UNION ALL
SELECT privilege_type || ' (' || column_name || ') ON resolution.' || table_name
FROM information_schema.column_privileges AS columns
WHERE grantee = '{role}' AND table_schema = 'resolution'
AND NOT EXISTS (
    SELECT FROM information_schema.role_table_grants AS tables
    WHERE tables.grantee = '{role}' AND tables.table_schema = 'resolution'
    AND tables.table_name = columns.table_name
    AND tables.privilege_type = columns.privilege_type
)
UNION ALL
SELECT 'EXECUTE ON FUNCTION resolution.' || proname || '(' || oidvectortypes(proargtypes) || ')'
FROM pg_proc, aclexplode(proacl) AS granted
WHERE pronamespace = 'resolution'::regnamespace AND granted.grantee = '{role}'::regrole
"""
_PARTS = """
SELECT 'view resolution.' || relname AS part, 'VIEW resolution.' || relname AS dropped
FROM pg_class WHERE relnamespace = 'resolution'::regnamespace AND relkind = 'v'
UNION ALL
SELECT 'function ' || signature, 'FUNCTION ' || signature
FROM (
    SELECT 'resolution.' || proname || '(' || oidvectortypes(proargtypes) || ')' AS signature
    FROM pg_proc WHERE pronamespace = 'resolution'::regnamespace
) AS functions
UNION ALL
SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass, 'TRIGGER ' || tgname || ' ON '
    || tgrelid::regclass
FROM pg_trigger INNER JOIN pg_class AS rel ON rel.oid = tgrelid
WHERE relnamespace = 'resolution'::regnamespace AND NOT tgisinternal
"""


@pytest.fixture
async def schema(database: Database) -> Schema:
    """A database with the deployed grants."""
    return await prepare(database)


@pytest.mark.parametrize("whose", ["worker", "operator"])
async def test_each_grant_is_missed(schema: Schema, whose: str) -> None:
    """With the deployed grants nothing is missing; whichever is taken away, that one is named."""
    role = f"resolution_{whose}"
    grants = [row["revoked"] for row in await schema.rows(_GRANTED.replace("{role}", role))]
    assert len(grants) > 20
    address = schema.worker if whose == "worker" else schema.operator
    async with connected(schema.superuser) as owner, inspecting(address, 10) as inspector:
        assert (await inspector.inspect()).whose == whose
        assert await inspector.missing_rights(whose) == []
        for grant in grants:
            await owner.execute(f"REVOKE {grant} FROM {role}")
            assert [right.text for right in await inspector.missing_rights(whose)] == [grant]
            await owner.execute(f"GRANT {grant} TO {role}")


async def test_each_part_is_missed(schema: Schema) -> None:
    """Whichever view, function or trigger is dropped, that very one is named."""
    parts = {row["part"]: row["dropped"] for row in await schema.rows(_PARTS)}
    assert len(parts) > 15
    async with connected(schema.superuser) as owner, inspecting(schema.worker, 10) as inspector:
        assert (await inspector.inspect()).absent_parts == ()
        for part, dropped in sorted(parts.items(), reverse=True):
            await owner.execute(f"DROP {dropped}")
            assert part in (await inspector.inspect()).absent_parts
        assert set((await inspector.inspect()).absent_parts) == set(parts)
