"""`penstock env`: shell lines that point the AWS CLI, boto3 and the CDK at this server."""

from __future__ import annotations

import argparse
import os
import shlex
import sys

from penstock import MODELS
from penstock.cli import arguments
from penstock.cli.exits import Exit
from penstock.cli.installation import LOOPBACK, NoServer, administrator_key, on_this_machine, server_facts

# What a shell may hold that wins over a profile in botocore's chain of credentials and endpoints.
_FOREIGN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
)
# .invalid never resolves (RFC 2606): a script that continues after a failure reaches nothing, least of all a real AWS account.
_NOWHERE = {
    "AWS_ENDPOINT_URL": "http://penstock-env-failed.invalid",
    "AWS_ACCESS_KEY_ID": "penstock-env-failed",
    "AWS_SECRET_ACCESS_KEY": "penstock-env-failed",
    "AWS_REGION": "us-east-1",  # without a region the CLI complains about that, and not about the address
    "AWS_DEFAULT_REGION": "us-east-1",
}


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `env`."""
    arguments.add_data_dir(parser)
    parser.add_argument(
        "--url", default="", type=arguments.public_url, help="the server's address; default: where it last started"
    )


def run(options: argparse.Namespace) -> int:
    """Print the lines. Without a server on the data dir: lines that make every later call fail, and exit code 1."""
    data_dir = options.data_dir.absolute()
    try:
        known = server_facts(data_dir)
        administrator_key(data_dir)
    except NoServer as error:
        print(f"penstock env: {error}", file=sys.stderr)
        _forget_foreign()
        for name, value in _NOWHERE.items():
            print(f"export {name}={value}")
        print("unset AWS_SESSION_TOKEN AWS_PROFILE; false")
        return Exit.USAGE
    _forget_foreign()
    variables = {
        "AWS_ENDPOINT_URL": options.url or known["url"],
        "AWS_SHARED_CREDENTIALS_FILE": str(data_dir / "credentials"),
        "AWS_PROFILE": "penstock",
        "AWS_REGION": known["region"],
        "AWS_DEFAULT_REGION": known["region"],
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",  # StartLiveTail's `stream-` in front of the server's name
    }
    if known["ca_file"]:
        variables["AWS_CA_BUNDLE"] = known["ca_file"]
        variables["GIT_SSL_CAINFO"] = known["ca_file"]
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    if on_this_machine(variables["AWS_ENDPOINT_URL"]):
        # A proxy of the shell would be asked for its own 127.0.0.1.
        for name in ("NO_PROXY", "no_proxy"):
            print(f"export {name}={LOOPBACK}${{{name}:+,${name}}}")
    # So that `aws penstock list-hosts` and boto3.client("penstock") are there; what the shell had stays.
    print(f"export AWS_DATA_PATH={shlex.quote(str(MODELS))}${{AWS_DATA_PATH:+:$AWS_DATA_PATH}}")
    return Exit.DONE


def _forget_foreign() -> None:
    # AWS_ENDPOINT_URL_S3 and its like win over AWS_ENDPOINT_URL.
    services = sorted(name for name in os.environ if name.startswith("AWS_ENDPOINT_URL_") and name.isidentifier())
    print(f"unset {' '.join((*_FOREIGN, *services))}")
