"""`penstock env`: shell lines that point the AWS CLI, boto3 and the CDK at this server."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from penstock import MODELS
from penstock.cli.exits import Exit
from penstock.cli.installation import NoServer, administrator_key, server_facts

_FOREIGN = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `env`."""
    parser.add_argument(
        "--data-dir", type=Path, default=Path("penstock-data"), metavar="DIR", help="default: ./penstock-data"
    )
    parser.add_argument("--url", default="", help="the server's address; default: where it last started")


def run(options: argparse.Namespace) -> int:
    """Print the lines; 1 when no server has run on the data dir."""
    data_dir = options.data_dir.absolute()
    try:
        known = server_facts(data_dir)
        administrator_key(data_dir)
    except NoServer as error:
        print(f"penstock env: {error}", file=sys.stderr)
        return Exit.USAGE
    variables = {
        "AWS_ENDPOINT_URL": options.url or known["url"],
        "AWS_SHARED_CREDENTIALS_FILE": str(data_dir / "credentials"),
        "AWS_PROFILE": "penstock",
        "AWS_REGION": known["region"],
        "AWS_DEFAULT_REGION": known["region"],
    }
    if known["ca_file"]:
        variables["AWS_CA_BUNDLE"] = known["ca_file"]
        variables["GIT_SSL_CAINFO"] = known["ca_file"]
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    # So that `aws penstock list-hosts` and boto3.client("penstock") are there; what the shell had stays.
    print(f"export AWS_DATA_PATH={shlex.quote(str(MODELS))}${{AWS_DATA_PATH:+:$AWS_DATA_PATH}}")
    print(f"unset {' '.join(_FOREIGN)}")
    return Exit.DONE
