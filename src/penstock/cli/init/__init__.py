"""`penstock init`: a working pipeline for the project in a folder. It looks at the files, writes what is missing, and runs it."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from penstock.cli import plan
from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.declared_files import check_file
from penstock.cli.exits import Exit
from penstock.cli.follow import Approval, Follower
from penstock.cli.init import resources
from penstock.cli.init.checkout import REMOTE, Checkout, GitError
from penstock.cli.init.projects import NoProject, Project, project_in
from penstock.cli.init.written import PIPELINE, SCRIPTS, Place, files_of
from penstock.cli.installation import NoServer
from penstock.cli.terminal import complain, harmless, paint, say
from penstock.webpages.wording import plural

_START_SECONDS = 30
_LISTED = 10  # tags
_EXAMPLES = "examples: penstock init            the project in this folder\n          penstock init --dry-run  show the files, and do nothing"


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `init`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{_EXAMPLES}\n\n{parser.epilog}"
    parser.add_argument("folder", metavar="DIR", type=Path, nargs="?", default=Path(), help="default: this one")
    parser.add_argument("--name", default="", help="of the pipeline and what belongs to it; default: the folder's name")
    parser.add_argument(
        "--hosts",
        metavar="KEY=VALUE",
        default="",
        help="tag of the hosts that get the releases; default: app=NAME",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the files, and change nothing")
    parser.add_argument("--no-run", action="store_true", help="write the files, and leave the server alone")
    parser.add_argument("--force", action="store_true", help="write over files that are there")
    add_data_dir(parser)


def run(options: argparse.Namespace) -> int:
    """Write, make, push, apply and follow."""
    return attempt("init", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    folder = options.folder.absolute()
    clients = Clients.found(options.data_dir.absolute())
    try:
        project, place, tag = _found_out(options, folder, clients)
        if options.dry_run:
            _show(files_of(project, place))
            return Exit.DONE
        written = _write(folder, files_of(project, place), force=options.force)
        _check_name(folder / PIPELINE, project.name, clients.region)
        for missing in project.unknown:
            say(paint(f"Not found out: {missing}. Look at what was written.", "amber"))
        if options.no_run:
            say("Nothing was made on the server. `penstock init` makes what the pipeline needs, and runs it.")
            return Exit.DONE
        return _deliver(options, folder, clients, project=project, place=place, tag=tag, written=written)
    except (NoProject, GitError) as error:
        complain(f"penstock init: {error}")
        return Exit.USAGE
    except OSError as error:
        complain(f"penstock init: {error.filename or folder}: {error.strerror}")
        return Exit.USAGE
    except subprocess.TimeoutExpired as error:
        complain(f"penstock init: git did not end within {error.timeout:.0f} s")
        return Exit.TIMED_OUT


def _found_out(options: argparse.Namespace, folder: Path, clients: Clients) -> tuple[Project, Place, resources.Tag]:
    if not folder.is_dir():
        raise NoProject(f"{folder} is no folder")
    engine = next((one for one in ("podman", "docker") if shutil.which(one)), "")
    project = project_in(folder, options.name, engine=engine)
    key, _, value = (options.hosts or f"app={project.name}").partition("=")
    tag, tags = (key, value), resources.tags_of_hosts(clients)
    hosts = tags[tag]
    if options.hosts and not hosts:
        raise NoProject(f"no host has the tag {options.hosts}. {_ways_to_hosts(project, tag, tags)}")
    me = clients("sts").get_caller_identity()
    place = Place(
        account=me["Account"],
        region=clients.region,
        partition=me["Arn"].split(":")[1],
        branch=Checkout(folder).branch(),
        to_hosts=bool(hosts),
    )
    if hosts:
        ways = f"to {plural(hosts, 'host')} with the tag {key}={value}"
    elif project.is_static:
        ways = f"to the bucket {place.bucket(project, 'site')}"
    else:
        ways = f"built only, since no host has the tag {key}={value}. {_ways_to_hosts(project, tag, tags)}"
    say(f"{paint(project.name, 'bold')}: {project.kind}, branch {place.branch}, {ways}")
    return project, place, tag


def _ways_to_hosts(project: Project, tag: resources.Tag, tags: Mapping[resources.Tag, int]) -> str:
    join = (
        f"To let one join: penstock hosts join {project.name}-1 --tag {tag[0]}={tag[1]}; then `penstock init --force`."
    )
    if not tags:
        return join
    listed = ", ".join(f"{key}={value} ({count})" for (key, value), count in sorted(tags.items())[:_LISTED])
    return f"{join} To take those that there are, name one of their tags with --hosts: {listed}."


def _show(files: Mapping[str, str]) -> None:
    for path, text in files.items():
        say(paint(f"--- {path}", "bold"))
        say(harmless_lines(text))


def harmless_lines(text: str) -> str:
    """Lines that a terminal may be given."""
    return "\n".join(harmless(line) for line in text.rstrip("\n").split("\n"))


def _write(folder: Path, files: Mapping[str, str], *, force: bool) -> list[str]:
    """Write the files that are missing; the paths of all that belong to the pipeline."""
    for path, text in files.items():
        target = folder / path
        if target.is_symlink():
            raise NoProject(f"{target} is a symbolic link, which is not written through")
        if target.exists() and not force:
            if target.read_bytes() != text.encode():
                say(f"  kept     {path} (--force writes over it)")
            continue
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
        if path.startswith(f"{SCRIPTS}/"):
            target.chmod(0o755)
        say(f"  wrote    {path}")
    return list(files)


def _check_name(file: Path, name: str, region: str) -> None:
    """Raises NoProject where the file that was there is of another pipeline."""
    declared = check_file(file, region=region, kind="pipeline").pipeline.get("name", name)
    if declared != name:
        raise NoProject(f"{file} declares the pipeline {declared}: give --name {declared}, or --force to write over it")


def _deliver(
    options: argparse.Namespace,
    folder: Path,
    clients: Clients,
    *,
    project: Project,
    place: Place,
    tag: resources.Tag,
    written: list[str],
) -> int:
    if not shutil.which("git"):
        raise NoServer("git is missing on this machine; install it with your system's packages")
    for made in resources.make(clients, project, place, tag):
        say(f"  made     {made}")
    checkout = Checkout(folder)
    if checkout.commit(written):
        say("  committed the files of the pipeline")
    follower = Follower(clients, project.name)
    known = _exists(clients, project.name)
    before = follower.newest() if known else ""
    # A new pipeline runs when it is made, and finds the branch then; an update would cancel the run that the push starts.
    pushed = False if known else checkout.push(clients, project.name, place.branch)
    applied = plan.run(
        argparse.Namespace(command="apply", file=folder / PIPELINE, force=False, json=False, data_dir=options.data_dir)
    )
    if applied != Exit.DONE:
        return applied
    if known:
        pushed = checkout.push(clients, project.name, place.branch)
        if not pushed:
            clients("codepipeline").start_pipeline_execution(name=project.name)
    if pushed:
        say(f"  pushed   {place.branch} to {REMOTE} ({clients.url}/v1/repos/{project.name})")
    say(f"  look     {clients.url}/console/pipelines/{project.name}")
    say()
    return follower.until_end(_run_after(follower, before), approve=_leave)


def _exists(clients: Clients, name: str) -> bool:
    codepipeline = clients("codepipeline")
    try:
        codepipeline.get_pipeline(name=name)
    except codepipeline.exceptions.PipelineNotFoundException:
        return False
    return True


def _run_after(follower: Follower, before: str) -> str:
    ends = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends:
        if (newest := follower.newest()) != before:
            return newest
        time.sleep(0.05)
    raise NoServer(f"the push started no run within {_START_SECONDS} s")


def _leave(approval: Approval) -> bool:
    say(f"          {approval.stage} waits for an approval. To approve: {approval.command('Approved')}")
    return False
