"""`make demo`: a commit becomes a running release on three local hosts, every step through the public APIs."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import botocore.exceptions

from penstock.cli.demo.house import DemoError, House
from penstock.cli.demo.story import Story
from penstock.cli.exits import Exit
from penstock.cli.terminal import say

_PACKAGED = Path(__file__).with_name("hello-web")  # in a wheel; in a checkout it is one of the examples
_EXAMPLE = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).resolve().parents[4] / "examples" / "hello-web"


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `demo`."""
    parser.add_argument("--yes", action="store_true", help="approve by itself")
    parser.add_argument("--rollback", action="store_true", help="the encore: release a version that fails its check")
    parser.add_argument("--stop", action="store_true", help="stop what an earlier demo left running, and end")
    parser.add_argument("--data-dir", type=Path, default=Path("demo-data"), metavar="DIR", help="default: ./demo-data")
    parser.add_argument(
        "--port", type=int, default=0, metavar="P", help="default: 8470, or a free one when it is taken"
    )
    parser.add_argument(
        "--timeout", type=float, default=900, metavar="S", help="give up after S seconds; default: %(default)s"
    )
    parser.add_argument("--example", type=Path, default=_EXAMPLE, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Tell the story; 0 when it ended as it should."""
    house = House(options.data_dir.absolute())
    if options.stop:
        house.stop()
        return Exit.DONE
    try:
        story = Story(house, example=options.example, approves=options.yes, timeout=options.timeout)
        if not (options.rollback and house.runs()):
            house.start(port=options.port)
            story.release_first()
        if options.rollback:
            story.release_broken()
        say()
        say("Everything keeps running, so that you can look around. `make demo-stop` ends it.")
    except KeyboardInterrupt:
        say()
        say("The server and the hosts keep running. `make demo-stop` ends them.")
        return Exit.STOPPED
    except (DemoError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return Exit.FAILED
    except subprocess.CalledProcessError as error:
        print(f"demo: {' '.join(map(str, error.cmd))} failed: {error.stderr}", file=sys.stderr)
        return Exit.FAILED
    return Exit.DONE
