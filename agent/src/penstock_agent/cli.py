"""The command line: `run`, `stop`, `deploy-local`, `check-appspec`, `join`, `status`. The only reader of argv; exit codes are named per command."""

from __future__ import annotations

import argparse
import sys
from typing import List, Optional

from penstock_agent import __version__, log
from penstock_agent.failures import ConfigInvalid, reason

DEFAULT_CONFIG = "/etc/penstock-agent/penstock-agent.yml"


def parser() -> argparse.ArgumentParser:
    """The argument parser."""
    top = argparse.ArgumentParser(prog="penstock-agent", description="Carries out deployments on this machine.")
    top.add_argument("--version", action="version", version="penstock-agent " + __version__)
    commands = top.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="take deployments from the command service until SIGTERM")
    run.add_argument("--config", default=DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")
    run.add_argument("--check", action="store_true", help="check the configuration and exit")

    stop = commands.add_parser(
        "stop",
        help="end the agent on this machine and wait for it",
        description="A running script may end by itself first (stop_timeout). Exit codes: 0 ended, 1 still running.",
    )
    stop.add_argument("--config", default="", metavar="FILE", help="default: %s" % DEFAULT_CONFIG)
    stop.add_argument("--root-dir", default="", metavar="DIR", help="look here, without reading a configuration")
    stop.add_argument("--timeout", type=int, default=90, metavar="SECONDS", help="default: %(default)s")

    local = commands.add_parser(
        "deploy-local",
        help="deploy a bundle or a directory on this machine, without a server",
        description="Exit codes: 0 deployed, 1 usage or configuration, 2 an event failed.",
    )
    local.add_argument(
        "-l",
        "--bundle",
        "--bundle-location",
        default=".",
        metavar="PATH|URL",
        help="a path, file://… or s3://bucket/key[?versionId=…&etag=…]; default: the current directory",
    )
    local.add_argument("-t", "--type", choices=("tgz", "tar", "zip", "directory"), help="default: by the name")
    local.add_argument("-b", "--file-exists-behavior", default="DISALLOW", choices=("DISALLOW", "OVERWRITE", "RETAIN"))
    local.add_argument("-g", "--deployment-group", default="default-local-deployment-group", metavar="ID")
    local.add_argument("-d", "--deployment-group-name", default="LocalFleet", metavar="NAME")
    local.add_argument("-a", "--application-name", default="", metavar="NAME", help="default: the bundle's location")
    local.add_argument("-e", "--events", default="", metavar="A,B,…", help="default: all events in order")
    local.add_argument(
        "-c",
        "--config",
        "--agent-configuration-file",
        default="",
        metavar="FILE",
        help="root_dir, install_root, limits and keys for S3 are taken from it",
    )
    local.add_argument("-A", "--appspec-filename", default="appspec.yml", metavar="NAME")
    local.add_argument("--root-dir", default="", metavar="DIR", help="instead of the configuration's root_dir")
    local.add_argument("--install-root", default="", metavar="DIR", help="instead of the configuration's install_root")

    spec = commands.add_parser(
        "check-appspec", help="check AppSpec files", description="Exit codes: 0 in order, 1 usage, 2 a file is refused."
    )
    spec.add_argument("files", nargs="+", metavar="FILE")
    spec.add_argument("--json", action="store_true", help="for programs")

    join = commands.add_parser(
        "join",
        help="join with an invitation (penstock hosts join), so that no access key lies on this machine",
        description="Makes a key that stays here, gets a certificate for it, and writes FILE unless it is there.",
    )
    join.add_argument("token", metavar="TOKEN", help="of the invitation; `-` reads it from standard input")
    join.add_argument("--config", default=DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")
    join.add_argument("--endpoint", default="", metavar="URL", help="of the server, where FILE does not say it")
    join.add_argument("--region", default="", metavar="NAME", help="of the host, where FILE does not say it")
    join.add_argument(
        "--ca-file", default="", metavar="FILE", help="certificate authorities (PEM) to trust instead of the system's"
    )
    join.add_argument("--root-dir", default="", metavar="DIR", help="where the agent keeps its state")

    status = commands.add_parser(
        "status",
        help="what the agent on this machine does",
        description="Exit codes: 0 running and in touch with the service, 1 running but not in touch, 2 running but refused: its keys or"
        " its certificate are not taken (any more), 3 not running.",
    )
    status.add_argument("--config", default="", metavar="FILE", help="default: %s" % DEFAULT_CONFIG)
    status.add_argument("--root-dir", default="", metavar="DIR", help="look here, without reading a configuration")
    status.add_argument("--json", action="store_true", help="for programs")
    return top


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command line; the exit code."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "run":
            from penstock_agent.config import read_config

            config = read_config(options.config)
            log.set_level(config.log_level)
            from penstock_agent.agent import Agent, pinned_certificates

            if options.check:
                pinned_certificates(config)
                sys.stdout.write("%s is in order\n" % options.config)
                return 0
            return Agent(config).run()
        if options.command == "deploy-local":
            from penstock_agent.local import deploy

            return deploy(options)
        if options.command == "check-appspec":
            from penstock_agent.checking import check

            return check(options.files, as_json=options.json)
        if options.command == "join":
            from penstock_agent.joining import run

            return run(options)
        from penstock_agent.status import show, stop

        return (stop if options.command == "stop" else show)(options, DEFAULT_CONFIG)
    except ConfigInvalid as error:
        sys.stderr.write("penstock-agent: %s\n" % error)
    except OSError as error:
        place = ": %s" % error.filename if isinstance(error.filename, str) else ""
        sys.stderr.write("penstock-agent%s: %s\n" % (place, reason(error)))
    return 1


if __name__ == "__main__":
    sys.exit(main())
