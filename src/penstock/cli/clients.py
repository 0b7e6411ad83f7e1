"""boto3 clients for our own commands: the shell's AWS variables when they point somewhere, else the data dir's server."""

from __future__ import annotations

import argparse
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3.session
import botocore.config
import botocore.exceptions

from penstock import MODELS
from penstock.cli import arguments
from penstock.cli.exits import Exit
from penstock.cli.installation import LOOPBACK, NoServer, administrator_key, on_this_machine, said, server_facts
from penstock.cli.terminal import complain

_CONFIG = botocore.config.Config(
    connect_timeout=5, read_timeout=70, retries={"mode": "standard", "total_max_attempts": 4}
)


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """The option that says whose server is meant where the shell does not."""
    arguments.add_data_dir(parser, help="used when AWS_ENDPOINT_URL is not set")


def attempt(command: str, act: Callable[[], int | None]) -> int:
    """What a command does with a server; the exit code that it says, or that it is done. What keeps it from that becomes a sentence."""
    try:
        return act() or Exit.DONE
    except (NoServer, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        complain(f"penstock {command}: {said(error)}")
        return Exit.USAGE


class Clients:
    """Makes the clients of one caller."""

    def __init__(self, *, url: str, region: str, ca_file: str = "", session: boto3.session.Session) -> None:
        if on_this_machine(url):
            os.environ |= {"NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}
        self.url = url
        self.region = region
        self._ca_file = ca_file
        self.session = session
        loader: Any = session._session.get_component("data_loader")  # noqa: SLF001 - boto3 offers no other way to add a model
        # Before the first client: botocore keeps the list of services that it has seen then.
        loader.search_paths.append(str(MODELS))

    @classmethod
    def found(cls, data_dir: Path) -> Clients:
        """Clients of the shell's environment, or of the administrator of the server that last started on `data_dir`.

        Raises NoServer with a reason.
        """
        if url := os.environ.get("AWS_ENDPOINT_URL"):
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
            session = boto3.session.Session(region_name=region)
            return cls(url=url, region=region, ca_file=os.environ.get("AWS_CA_BUNDLE", ""), session=session)
        try:
            return cls.administrator(data_dir)
        except NoServer as error:
            raise NoServer(f"AWS_ENDPOINT_URL is not set and {error}") from None

    @classmethod
    def administrator(cls, data_dir: Path) -> Clients:
        """Clients of the administrator of the server that last started on `data_dir`. Raises NoServer with a reason."""
        facts = server_facts(data_dir)
        access_key_id, secret = administrator_key(data_dir)
        return cls.with_key(access_key_id=access_key_id, secret=secret, **facts)

    @classmethod
    def with_key(cls, *, url: str, region: str, access_key_id: str, secret: str, ca_file: str = "") -> Clients:
        """Clients of an access key."""
        session = boto3.session.Session(
            aws_access_key_id=access_key_id, aws_secret_access_key=secret, region_name=region
        )
        return cls(url=url, region=region, ca_file=ca_file, session=session)

    @property
    def ca_file(self) -> str:
        """The authorities that clients trust instead of the system's, or ""."""
        return self._ca_file

    def tls_context(self) -> ssl.SSLContext | None:
        """What plain HTTPS requests to the server trust; None for plain HTTP."""
        return ssl.create_default_context(cafile=self._ca_file or None) if self.url.startswith("https") else None

    def __call__(self, service: str) -> Any:
        """A boto3 client, of our own service too. Raises NoServer when the address is not one."""
        try:
            return self.session.client(
                service, endpoint_url=self.url, region_name=self.region, verify=self._ca_file or None, config=_CONFIG
            )
        except ValueError as error:
            raise NoServer(str(error)) from None
