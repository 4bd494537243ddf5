"""A worker whose port is in the hands of strangers."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.acceptance.outcomes import tokens
from tests.strangers import strangers

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.web_tier import WebTier

DESCRIPTORS = 256


@pytest.mark.long
async def test_half_requests_take_no_descriptors(stage: Installation, web: WebTier) -> None:
    """A thousand half requests leave a worker its descriptors, its probes and its work."""
    worker = await stage.run()
    process = psutil.Process(worker.process.pid)
    most = (DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    process.rlimit(psutil.RLIMIT_NOFILE, most)
    before, took = process.num_fds(), []
    async with strangers(await worker.port(), 1000):
        ids = [await web.submit(token) for token in tokens("ok", 20)]
        for path in ("/healthz", "/readyz", "/metrics") * 5:
            began = time.monotonic()
            status, _ = await worker.get(path)
            took.append(time.monotonic() - began)
            assert status == 200, path
        assert {(await web.event(one)).status for one in ids} == {"resolved"}
        assert process.num_fds() <= before + 32 + 32  # those of the calls in flight too
    assert sorted(took)[len(took) // 2] < 1
    assert "Traceback" not in worker.said
