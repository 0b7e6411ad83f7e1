"""`make demo`: a commit becomes a running release on three local hosts, every step through the public APIs."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import botocore.exceptions

from penstock.cli import arguments
from penstock.cli.demo.processes import DemoError, Processes
from penstock.cli.demo.story import Story
from penstock.cli.exits import Exit
from penstock.cli.installation import LOOPBACK, NoServer, said
from penstock.cli.terminal import complain, say

_PACKAGED = Path(__file__).with_name("hello-web")  # in a wheel; in a checkout it is one of the examples
_EXAMPLE = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).resolve().parents[4] / "examples" / "hello-web"


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `demo`."""
    parser.add_argument("--yes", action="store_true", help="approve by itself")
    parser.add_argument("--rollback", action="store_true", help="the encore: release a version that fails its check")
    parser.add_argument("--stop", action="store_true", help="stop what an earlier demo left running, and end")
    parser.add_argument("--data-dir", type=Path, default=Path("demo-data"), metavar="DIR", help="default: ./demo-data")
    parser.add_argument(
        "--port",
        type=arguments.port,
        metavar="P",
        help="0 takes a free one; default: 8470, or a free one when it is taken",
    )
    parser.add_argument(
        "--timeout", type=float, default=900, metavar="S", help="give up after S seconds; default: %(default)s"
    )
    parser.add_argument("--example", type=Path, default=_EXAMPLE, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Play the story; 0 when it ended as it should."""
    _forget_the_shell()
    demo_processes = Processes(options.data_dir.absolute())
    stop = _stop_command(options.data_dir)
    if options.stop:
        demo_processes.stop()
        return Exit.DONE
    if not shutil.which("git"):
        return _failed("git is missing on this machine; install it with your system's packages", demo_processes, stop)
    try:
        story = Story(demo_processes, example=options.example, approves=options.yes, timeout=options.timeout)
        if not (options.rollback and demo_processes.runs()):
            demo_processes.start(port=options.port)
            story.release_first()
        if options.rollback:
            story.release_broken()
        say()
        say(f"Everything keeps running, so that you can look around. `{stop}` ends it.")
    except KeyboardInterrupt:
        say()
        say(f"The server and the hosts keep running. `{stop}` ends them.")
        return Exit.STOPPED
    except subprocess.CalledProcessError as error:
        return _failed(f"{shlex.join(map(str, error.cmd))} failed: {error.stderr.strip()}", demo_processes, stop)
    except OSError as error:
        return _failed(f"{error.filename or demo_processes.folder}: {error.strerror}", demo_processes, stop)
    except (
        DemoError,
        NoServer,
        botocore.exceptions.BotoCoreError,
        botocore.exceptions.ClientError,
        subprocess.TimeoutExpired,
    ) as error:
        return _failed(said(error), demo_processes, stop)
    return Exit.DONE


def _failed(why: str, demo_processes: Processes, stop: str) -> int:
    complain(f"demo: {why}")
    if demo_processes.recall("processes"):
        complain(f"What has started keeps running; its logs are in {demo_processes.folder}. `{stop}` ends it.")
    return Exit.FAILED


def _stop_command(data_dir: Path) -> str:
    if data_dir == Path("demo-data") and _EXAMPLE != _PACKAGED:
        return "make demo-stop"
    return f"penstock demo --stop --data-dir {shlex.quote(str(data_dir))}"


def _forget_the_shell() -> None:
    """Leave out what the user's shell holds for other servers: profiles, endpoints, repositories, commit signing, proxies."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GIT_")) and name != "GIT_EXEC_PATH"]:
        del os.environ[name]
    os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    os.environ |= {"NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}
