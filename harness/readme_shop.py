"""The examples of the client's README as programs, with what a shop has around them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CLIENT: Final = Path(__file__).parents[1] / "clients" / "python"
APPLICATIONS: Final = {
    "asyncio": "asgi_shop:app",
    "Flask": "flask_shop:app",
    "Django": "shop.wsgi:application",
}
PROVISIONED: Final = "provisioned.txt"
FAIL_ONCE: Final = "fail-once"
_BLOCK: Final = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ENVIRONMENT: Final = {
    "DJANGO_SETTINGS_MODULE": "shop.settings",
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "default",
}

# What provisions leaves a line in a file, and fails once if it is told to.
_PROVISIONING: Final = f"""
import pathlib

def provision(customer):
    fail = pathlib.Path("{FAIL_ONCE}")
    if fail.exists():
        fail.unlink()
        raise ConnectionError("the database is away")
    with open("{PROVISIONED}", "a") as file:
        file.write(customer.agreement_key + "\\n")
"""
_CUSTOMERS: Final = """
import threading
from shop.provisioning import provision as provision_anew

_lock, _keys = threading.Lock(), set()

def provision(answer):
    with _lock:
        if answer.agreement_key not in _keys:
            provision_anew(answer)
            _keys.add(answer.agreement_key)

def start_signup(answer):
    provision(answer)
    return "/login" if answer.repeated else "/signup"
"""
_SETTINGS: Final = """
SECRET_KEY = "a"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.sessions", "shop"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite",
    "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 30},
}}
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": ["templates"]}]
"""
_URLS: Final = """
from django.http import HttpResponse
from django.urls import path
from shop.views import landing

page = lambda request, *_: HttpResponse(request.path)
urlpatterns = [
    path("landing", landing),
    path("signup", page, name="signup"),
    path("login", page, name="login"),
    path("waiting/<str:_>", page, name="waiting"),
]
"""
_WSGI: Final = """
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""
_SERVE: Final = """
import importlib, socket, sys

module, name = sys.argv[1].split(":")
application = getattr(importlib.import_module(module), name)
if module == "asgi_shop":
    import uvicorn
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1])
    uvicorn.Server(uvicorn.Config(application, log_level="warning")).run(sockets=[listener])
else:
    from werkzeug.serving import make_server
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(server.server_port)
    server.serve_forever()
"""
_FILES: Final = {
    "customers.py": _CUSTOMERS,
    "serve.py": _SERVE,
    "shop/provisioning.py": _PROVISIONING,
    "shop/settings.py": _SETTINGS,
    "shop/urls.py": _URLS,
    "shop/wsgi.py": _WSGI,
    "templates/contact.html": "{{ code }}",
    "templates/restart.html": "begin again",
    "templates/try-again.html": "try again",
}


def examples() -> dict[str, str]:
    """The README's blocks of Python by the name of the file, which is their first line."""
    return dict(_BLOCK.findall((CLIENT / "README.md").read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Page:
    """What a browser got.

    Attributes:
        location: Where it is sent to; empty if it is not.
    """

    status: int
    location: str
    text: str


@dataclass(frozen=True, slots=True)
class Browser:
    """Posts to a landing page, as AWS Marketplace has a buyer's browser do."""

    url: str
    session: aiohttp.ClientSession

    async def post(self, token: str) -> Page:
        """Post a token."""
        form = urlencode({"x-amzn-marketplace-token": token})
        headers = {"content-type": "application/x-www-form-urlencoded"}
        async with self.session.post(
            f"{self.url}/landing", data=form, headers=headers, allow_redirects=False
        ) as answer:
            location = answer.headers.get("location", "")
            return Page(answer.status, location, await answer.text())


@dataclass(frozen=True, slots=True)
class Shop:
    """A folder with the examples in it, and the programs that run there.

    Attributes:
        folder: It.
        broker: The broker's URL.
    """

    folder: Path
    broker: str

    def install(self) -> None:
        """Write the files, and make Django's tables."""
        for name, text in {**examples(), **_FILES}.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text, encoding="utf-8")
        self.run("-m", "django", "migrate", "--run-syncdb", "--verbosity", "0")

    @property
    def provisioned(self) -> list[str]:
        """The agreement keys for which something was provisioned, in order."""
        file = self.folder / PROVISIONED
        return file.read_text(encoding="utf-8").split() if file.exists() else []

    @property
    def said(self) -> str:
        """All that the programs have written to standard error."""
        return "".join(log.read_text(encoding="utf-8") for log in self.folder.glob("*.log"))

    @property
    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join((str(self.folder), str(CLIENT)))
        own = {"RESOLUTION_AMQP__URL": self.broker, "PYTHONPATH": path}
        return {"PATH": os.environ["PATH"], **_ENVIRONMENT, **own}

    def run(self, *arguments: str) -> str:
        """Run Python to its end; what it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @asynccontextmanager
    async def running(
        self, name: str, *arguments: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Python, until the block ends; its standard error goes to `NAME.log`."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                cwd=self.folder,
                env=self._environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), 30)

    @asynccontextmanager
    async def serving(self, kind: str) -> AsyncIterator[Browser]:
        """One of the applications on a free port."""
        async with (
            self.running(kind, "serve.py", APPLICATIONS[kind]) as process,
            aiohttp.ClientSession() as session,
        ):
            assert process.stdout
            port = (await process.stdout.readline()).decode().strip()
            assert port, self.said
            yield Browser(f"http://127.0.0.1:{port}", session)
