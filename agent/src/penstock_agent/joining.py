"""`join`: a host takes up an invitation, and is configured."""

from __future__ import annotations

import os
import sys
from typing import Any

from penstock_agent.config import DEFAULT_ROOT, read_config
from penstock_agent.connection import Address, Unreachable, tls_context
from penstock_agent.failures import ConfigInvalid
from penstock_agent.identity import Joined, join
from penstock_agent.layout import Layout, write_durably
from penstock_agent.service import Refused

_LONGEST = 4096  # characters of an invitation


def run(options: Any) -> int:
    """Join, and say what to do next; the exit code. Raises ConfigInvalid or OSError."""
    token = sys.stdin.readline(_LONGEST).strip() if options.token == "-" else options.token
    lines = _lines(options)
    if lines:
        endpoint, region, ca_file, root_dir = (
            lines.get(key, "") for key in ("endpoint", "region", "ca_file", "root_dir")
        )
        if not endpoint or not region:
            raise ConfigInvalid("there is no %s: give --endpoint and --region" % options.config)
    else:
        config = read_config(options.config, local=True)
        endpoint, region, ca_file, root_dir = config.endpoint, config.region, config.ca_file, config.root_dir
        if config.host_identifier and config.joined is None:
            raise ConfigInvalid(
                "%s names another identity. Take its keys out of the file, so that the host is who joined"
                % options.config
            )
    try:
        address = Address(endpoint)
    except ValueError as error:
        raise ConfigInvalid("--endpoint: %s" % error) from None
    if not address.private:
        raise ConfigInvalid(
            "%s is plain HTTP to another machine: anybody on the way could take the invitation. Give an https endpoint (with"
            " --ca-file for an authority of your own)" % endpoint
        )
    if ca_file and not os.path.isfile(ca_file):
        raise ConfigInvalid("--ca-file: there is no file %s" % ca_file)
    Layout(root_dir).prepare()
    try:
        joined = join(root_dir, address, tls_context(ca_file) if address.secure else None, token)
    except (Refused, Unreachable) as error:
        raise ConfigInvalid(str(error)) from None
    if lines:
        folder = os.path.dirname(os.path.abspath(options.config))
        os.makedirs(folder, exist_ok=True)
        text = "".join("%s: %s\n" % (key, value) for key, value in lines.items() if value)
        write_durably(os.path.abspath(options.config), text.encode("utf-8"))
    _say(joined, options.config)
    return 0


def _lines(options: Any) -> Any:
    """The configuration that is to be written; {} when the file is there, which says everything."""
    if os.path.exists(options.config):
        for name in ("endpoint", "region", "ca_file", "root_dir"):
            if getattr(options, name):
                raise ConfigInvalid(
                    "%s is there: change it in the file instead of giving --%s"
                    % (options.config, name.replace("_", "-"))
                )
        return {}
    return {
        "endpoint": options.endpoint,
        "region": options.region,
        "ca_file": os.path.abspath(options.ca_file) if options.ca_file else "",
        "root_dir": os.path.abspath(options.root_dir) if options.root_dir else DEFAULT_ROOT,
    }


def _say(joined: Joined, config: str) -> None:
    sys.stdout.write(
        "This host is %s. Its key is in %s, and never leaves it.\nNext: penstock-agent run --config %s\n"
        % (joined.session_arn, joined.folder, config)
    )
