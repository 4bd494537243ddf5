"""`resolve-customer` beside the AWS CLI in both versions, byte for byte."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import pytest

from harness.installation import simulating
from tests.acceptance.aws_cli import (
    AWS,
    OURS,
    QUIET,
    UNKNOWN,
    UNSET,
    Ended,
    Tool,
    model_without,
    version_one,
    version_two,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TO: Final = ("--endpoint-url", "{url}")
_ALL: Final = ["json", "text", "table", "yaml", "yaml-stream"]
_OF_V1: Final = ("json", "text", "table")


@dataclass(frozen=True, slots=True)
class Case:
    """One command line.

    Attributes:
        v1: Whether version 1 knows all of it, so that its standard output must be the same.
        says: Whether the last line on standard error must be version 2's as well.
    """

    arguments: tuple[str, ...]
    v1: bool = True
    says: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def __str__(self) -> str:
        words = [word for word in self.arguments if word not in _TO]
        given = (f"{name}={value}" for name, value in self.environment.items())
        return self.name or " ".join([*given, *words])


def token(value: str, *more: str, **given: object) -> Case:
    """A call for one token."""
    arguments = ("--registration-token", value, *_TO, *more)
    return Case(arguments, **given)  # type: ignore[arg-type]  # the fields of a case


def queried(query: str, output: str, **given: object) -> Case:
    """A call whose answer is filtered."""
    return token("ok-query", "--query", query, "--output", output, v1=output in _OF_V1, **given)


def document(text: str, kind: str = "json", *more: str, **given: object) -> Case:
    """A call with an input document."""
    arguments = (f"--cli-input-{kind}", text, *_TO, *more)
    return Case(arguments, v1=kind == "json", **given)  # type: ignore[arg-type]  # as above


_NESTED: Final = "{a: {b: [{c: ProductCode, d: [`1`, `2`]}, {c: `3`, e: `null`}]}, z: `[]`}"
_ODD: Final = (
    '{a: `"ü😀\\n漢字"`, b: `"012"`, c: `true`, d: `"1e5"`, e: `"yes"`, f: `""`, g: `1.5`}'
)

# The simulator's grammar, in every form that the reference has.
_GRAMMAR: Final = [
    *(token("ok-1", "--output", form, v1=form in _OF_V1) for form in _ALL),
    *(token("new-1", "--output", form, v1=form in _OF_V1) for form in ("json", "text", "yaml")),
    *(token("old-1", "--output", form, v1=form in _OF_V1) for form in ("text", "table")),
    *(token("empty-1", "--output", form, v1=form in _OF_V1) for form in _ALL),
    token("same-012345678901-1", "--output", "yaml", v1=False),
    token("same-012345678901-2"),
    token("seller-simulator-1"),
    token("seller-other-1"),
    token("slow-200-1"),
    token("garbage-1"),
    token("invalid-1"),
    token("expired-1"),
    token("denied-1"),
    token("anything"),
    token("fail-1-1", says=False),
    token("throttle-1-1", says=False),
    token("fail-2-2", environment={"AWS_MAX_ATTEMPTS": UNSET}, name="fail-2, default retries"),
    token("fail-9-3", environment={"AWS_MAX_ATTEMPTS": UNSET}, name="fail-9, default retries"),
    token("hang-1", "--cli-read-timeout", "1", says=False),
]

_QUERIES: Final = [
    *(queried("ProductCode", form) for form in ("json", "table", "yaml")),
    *(queried("Nope", form) for form in ("json", "text", "table", "yaml-stream")),
    *(queried("length(@)", form) for form in ("json", "yaml-stream", "table")),
    *(queried(_NESTED, form, name=f"nested {form}") for form in _ALL),
    *(queried(_ODD, form, name=f"odd {form}") for form in _ALL),
    queried("[CustomerIdentifier, ProductCode]", "table"),
    queried("[CustomerIdentifier, ProductCode]", "text"),
    queried("[[`1`, `2`], [`3`]]", "table"),
    queried("[[`1`, [`2`, `3`]], `4`]", "text"),
    queried("[{a: `1`}, {b: `2`}]", "text"),
    queried("sort(keys(@))", "yaml"),
    queried("avg(@)", "json", says=False),
]

_OPTIONS: Final = [
    token("ok-1", "--output", "table", "--color", "on"),
    token("ok-1", "--output", "table", "--color", "off"),
    token("ok-1", "--output", "table", "--color", "auto"),
    Case(
        (
            "--registration-token",
            "ok-1",
            *_TO,
            "--query",
            _NESTED,
            "--output",
            "table",
            "--color",
            "on",
        ),
        name="nested table in colours",
    ),
    token("ok-1", "--debug", says=False),
    token("ok-1", "--no-verify-ssl"),
    token("ok-1", "--no-paginate"),
    token("ok-1", "--region", "eu-central-1"),
    token("ok-1", "--profile", "other"),
    token("ok-1", "--profile", "nope"),
    token("ok-1", "--no-sign-request"),
    token("ok-1", "--ca-bundle", "{home}/nope.pem"),
    token("ok-1", "--cli-read-timeout", "0", "--cli-connect-timeout", "0"),
    token("ok-1", "--cli-read-timeout", "x", says=False),
    token("ok-1", "--cli-binary-format", "raw-in-base64-out", v1=False),
    token("ok-1", "--no-cli-pager", "--no-cli-auto-prompt", v1=False),
    token("ok-1", "--quer", "ProductCode", name="an abbreviated option"),
    token("ok-1", environment={"AWS_DEFAULT_OUTPUT": "text"}),
    token("ok-1", environment={"AWS_DEFAULT_OUTPUT": "xml"}),
    token("ok-1", environment={"AWS_PROFILE": "other"}),
    token("ok-1", environment={"AWS_PROFILE": "reserved"}, says=False),
    token("ok-1", environment={"AWS_SECRET_ACCESS_KEY": "wrong"}),
    token("ok-1", environment={"AWS_SECRET_ACCESS_KEY": UNSET}),
    token("ok-1", environment={"AWS_REGION": UNSET, "AWS_DEFAULT_REGION": UNSET}),
    token(
        "ok-1",
        environment={"AWS_ACCESS_KEY_ID": UNSET, "AWS_SECRET_ACCESS_KEY": UNSET},
        name="no credentials",
    ),
    token("file://{home}/token"),
    token("file://{home}/nope", says=False),
]

_DOCUMENTS: Final = [
    document('{"RegistrationToken": "ok-1"}'),
    document("file://{home}/input.json"),
    document('{"RegistrationToken": "invalid-1"}', "json", "--registration-token", "ok-1"),
    document("RegistrationToken: ok-1", "yaml"),
    document("file://{home}/input.yaml", "yaml"),
    document("RegistrationToken: invalid-1", "yaml", "--registration-token", "ok-1"),
    Case(("--generate-cli-skeleton", *_TO)),
    Case(("--generate-cli-skeleton", "input")),
    Case(("--generate-cli-skeleton", "yaml-input"), v1=False),
    *(
        Case(
            ("--generate-cli-skeleton", "output", "--registration-token", "x", "--output", form),
            v1=form in _OF_V1,
        )
        for form in _ALL
    ),
    Case(("--generate-cli-skeleton", "output", "--cli-input-json", '{"RegistrationToken": "x"}')),
]

_BAD: Final = [
    Case(_TO, name="no token"),
    token(""),
    token("ok-1", "--nonsense"),
    token("ok-1", "stray", says=False),
    token("ok-1", "--output", "xml", says=False),
    token("ok-1", "--output", says=True, name="an option without its value"),
    token("ok-1", "--color", "blue", says=False),
    token("ok-1", "--cli-binary-format", "hex", v1=False, says=False),
    token("ok-1", "--query", "foo["),
    token("ok-1", "--query", "foo bar"),
    token("ok-1", "--query", "nope(@)", says=False),
    Case(("--registration-token", "ok-1", "--endpoint-url", "foo")),
    Case(("--registration-token", "ok-1", "--endpoint-url", "http://127.0.0.1:1")),
    Case(("--registration-token", "ok-1", "--endpoint-url", "http://")),
    token("ok-1", "--region", "no region"),
    document("{bad", says=False),
    document("[]", says=False),
    document('"text"', says=False),
    document("{}"),
    document('{"RegistrationToken": "ok-1", "Foo": 1}'),
    document('{"RegistrationToken": 1}', says=False),
    document("file://{home}/nope", says=False),
    document("RegistrationToken: [", "yaml", says=False),
    document("text", "yaml", says=False),
    document("", "yaml", says=False),
    document("Foo: 1", "yaml"),
    document("{}", "json", "--cli-input-yaml", "{}", says=True),
    Case(("--generate-cli-skeleton", "nonsense"), says=False),
    Case(("--generate-cli-skeleton", "output"), name="an output skeleton without a token"),
]

CASES: Final = [*_GRAMMAR, *_QUERIES, *_OPTIONS, *_DOCUMENTS, *_BAD]


@dataclass(frozen=True, slots=True)
class Tools:
    """Both references, and our command once for each, without what that one does not know."""

    v1: Tool
    v2: Tool
    like_v1: Tool
    like_v2: Tool


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    """All commands, each with a simulator of its own, so that each has its own first call."""
    home = tmp_path_factory.mktemp("compared")
    for name, text in _FILES.items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text, encoding="utf-8")
    models = {
        name: model_without(members, tmp_path_factory.mktemp(name))
        for name, members in UNKNOWN.items()
    }
    with ExitStack() as stack:
        urls = [stack.enter_context(simulating(home)).url for _ in range(4)]
        yield Tools(
            v1=Tool((str(version_one()), *AWS), urls[0], home, more=QUIET),
            v2=Tool((str(version_two()), *AWS), urls[1], home, more=QUIET),
            like_v1=Tool(OURS, urls[2], home, models["v1"]),
            like_v2=Tool(OURS, urls[3], home, models["v2"]),
        )


_KEYS: Final = "aws_access_key_id = simulator\naws_secret_access_key = simulator\n"
_FILES: Final = {
    "token": "ok-1",
    "input.json": '{"RegistrationToken": "ok-1"}\n',
    "input.yaml": "# by hand\nRegistrationToken: 'ok-1'\n",
    ".aws/credentials": f"[other]\n{_KEYS}",
    ".aws/config": "[profile other]\nregion = eu-west-1\noutput = text\n[profile reserved]\n",
}


def test_the_table_is_long_enough() -> None:
    """The comparison has at least sixty cases, and no two are the same."""
    assert len({(case.arguments, *case.environment.items()) for case in CASES}) >= 60
    assert len({str(case) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.sampled(13)
def test_standard_output_and_exit_code_are_the_references(tools: Tools, case: Case) -> None:
    """Standard output is version 1's and version 2's, the exit code and the words version 2's."""
    chosen = ["v2", "like_v2", *(["v1", "like_v1"] if case.v1 else [])]
    with ThreadPoolExecutor(len(chosen)) as executor:
        ended = dict(
            zip(
                chosen,
                executor.map(lambda name: _run(getattr(tools, name), case), chosen),
                strict=True,
            )
        )

    assert ended["like_v2"].out == ended["v2"].out
    assert ended["like_v2"].code == ended["v2"].code
    if case.v1:
        assert ended["like_v1"].out == ended["v1"].out
    if case.says:
        assert _last_words(ended["like_v2"]) == _last_words(ended["v2"])


def _run(tool: Tool, case: Case) -> Ended:
    return tool.run(*case.arguments, environment=case.environment)


def _last_words(ended: Ended) -> list[str]:
    """What follows usage and warnings on standard error, without the program's name."""
    text = re.sub(r"(?m)^resolve-customer: warning:.*\n", "", ended.err)
    text = re.sub(
        r"(?s)^\s*usage: .*?(?=(aws|resolution-worker): error:|Unknown options)", "", text
    )
    return re.sub(r"(?m)^(aws|resolution-worker): ", "", text).split("\n")


@pytest.mark.parametrize("form", _ALL)
@pytest.mark.sampled(5)
def test_members_that_are_new_are_printed_as_a_reference_that_knows_them_would(
    tools: Tools, form: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where the references are taught today's model, nothing at all is left out."""
    known = model_without((), tmp_path_factory.mktemp("known"))
    references = [tools.v2, *([tools.v1] if form in _OF_V1 else [])]
    taught = [replace(each, data_path=known) for each in references]

    ours = Tool(OURS, tools.like_v2.url, tools.like_v2.home)
    case = token("ok-known", "--output", form)

    assert {_run(each, case).out for each in taught} == {_run(ours, case).out}
    assert b"agmt-" in _run(ours, case).out


@pytest.mark.parametrize(
    "environment",
    [
        {"AWS_ENDPOINT_URL": "{url}"},
        {
            "AWS_ENDPOINT_URL_MARKETPLACE_METERING": "{url}",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        },
    ],
    ids=lambda given: next(iter(given)),
)
def test_the_endpoint_may_come_from_the_environment(
    tools: Tools, environment: Mapping[str, str]
) -> None:
    """Botocore's variables for endpoints hold, which our version 2 is too old to know."""
    case = Case(("--registration-token", "ok-1"), environment=environment)

    assert _run(tools.like_v1, case) == Ended(0, _run(tools.v1, case).out, _EXPOSED)


_EXPOSED: Final = (
    "resolve-customer: warning: --registration-token exposes the token in the list of processes "
    "and the shell's history; --registration-token - or file://PATH does not\n"
)
