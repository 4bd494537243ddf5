"""The help and version texts of `resolve-customer`."""

from __future__ import annotations

from typing import Final

USAGE: Final = """\
resolution-worker resolve-customer --registration-token <token | - | file://path> [options]
To see help text, you can run:

  resolution-worker resolve-customer help
"""

HELP: Final = """\
Usage: resolution-worker resolve-customer [options]

Resolves one registration token, with the options and the output of
`aws meteringmarketplace resolve-customer`.

The token:
  --registration-token VALUE     The token; `-` reads it from standard input, file://PATH from a
                                 file. Given literally, it is visible in the process list.
  --cli-input-json VALUE         Input document, literal or file://PATH. Options override it.
  --cli-input-yaml VALUE         The same in YAML.
  --generate-cli-skeleton KIND   Print input (default), yaml-input or output; make no call.

Beyond the AWS CLI:
  --store           Store the answer in the worker's database, as the worker would, audited.
  --actor NAME      Who stores, for the audit; the login name by default.
  --reason TEXT     Why, for the audit.
  --explain         Explain what an error means and what to do.

As in the AWS CLI:
  --output json|text|table|yaml|yaml-stream|off      --query JMESPATH
  --profile NAME                 --region NAME       --endpoint-url URL
  --cli-read-timeout SECONDS     --cli-connect-timeout SECONDS (0: no limit; default 60)
  --ca-bundle FILE               --no-verify-ssl     --no-sign-request
  --color on|off|auto            --debug             --version
  --cli-error-format legacy|enhanced|json|yaml|text|table (or AWS_CLI_ERROR_FORMAT)
  --no-paginate, --no-cli-pager, --no-cli-auto-prompt, --cli-binary-format: no effect here.

Region: --region, AWS_REGION, AWS_DEFAULT_REGION, the profile, WORKER_AWS__REGION if it is set.
Exit codes: 0 done, 252 usage, 253 configuration or credentials, 254 the service answered with an
error, 255 anything else. See docs/resolve-customer.md.
"""


def version() -> str:
    """One line in the format of the AWS CLI's."""
    import platform  # noqa: PLC0415 - start-up
    from importlib.metadata import version as installed  # noqa: PLC0415 - start-up

    from worker import __version__  # noqa: PLC0415 - start-up

    return (
        f"resolution-worker/{__version__} Python/{platform.python_version()} "
        f"{platform.system()}/{platform.release()} botocore/{installed('botocore')}\n"
    )
