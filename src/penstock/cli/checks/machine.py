"""The machine: its disk, the files' modes, the programs and certificates that the server uses."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from penstock.application import Settings
from penstock.builds.work import choose_for
from penstock.cli.checks.ends import lasts
from penstock.cli.checks.findings import Finding, Installation, Verdict
from penstock.sandbox import cgroups, registry
from penstock.sandbox.runtime import RuntimeRefused
from penstock.secrets.settings import program_missing

_LOW_BYTES = 1 << 30
_FULL_BYTES = 16 << 20
_CHECKED = 20_000  # files of a data dir


def data_dir(installation: Installation) -> Iterator[Finding]:
    """Is the folder private, does its disk take writes, and is there room?"""
    folder = installation.data_dir
    if not folder.exists():
        yield Finding(Verdict.WARN, "data dir", f"{folder} is not on this machine")
        return
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        yield Finding(Verdict.FAIL, "data dir", f"others may enter {folder} (mode {mode:o})", f"chmod 700 {folder}")
    disk = os.statvfs(folder)
    if disk.f_flag & os.ST_RDONLY:
        yield Finding(
            Verdict.FAIL,
            "data dir",
            f"the disk of {folder} is read-only: {os.strerror(errno.EROFS)}",
            "see the kernel's log (dmesg) for why; then remount it for writing",
        )
    free = shutil.disk_usage(folder).free
    verdict = Verdict.FAIL if free < _FULL_BYTES else Verdict.WARN if free < _LOW_BYTES else Verdict.OK
    yield Finding(
        verdict,
        "data dir",
        f"{free / (1 << 30):.1f} GiB free" if free >= _FULL_BYTES else "the disk is full",
        "" if verdict is Verdict.OK else "make room: writes fail when the disk is full",
    )


def file_modes(installation: Installation) -> Iterator[Finding]:
    """May others read what lies in the data dir? It is private by its folder; a copy that keeps modes would not be."""
    found: list[Path] = []
    checked = 0
    for root, folders, files in os.walk(installation.data_dir):
        # The trees of builds are made for other users, and gone when they end; a certificate is there to be handed out.
        folders[:] = [name for name in folders if not (Path(root) == installation.data_dir and name == "builds")]
        for name in files:
            checked += 1
            path = Path(root, name)
            if path.suffix != ".pem" and not path.is_symlink() and stat.S_IMODE(path.lstat().st_mode) & 0o077:
                found.append(path)
        if checked > _CHECKED or len(found) > 2:
            break
    if found:
        yield Finding(
            Verdict.WARN,
            "data dir",
            f"others may read {', '.join(str(path) for path in found[:3])}{' and more' if len(found) > 2 else ''}",
            f"chmod -R go-rwx {installation.data_dir}",
        )


def secrets(installation: Installation) -> Iterator[Finding]:
    """Would a copy of the data dir hold a key in the clear?"""
    clear = []
    credentials = installation.data_dir / "credentials"
    if credentials.exists() and not credentials.is_symlink():
        clear.append(credentials)
    for path in (installation.data_dir / "tls").glob("*.key"):
        head = path.read_bytes()[:64]
        if head.startswith(b"-----BEGIN") and b"ENCRYPTED" not in head:
            clear.append(path)
    key = installation.master_key_file.resolve()
    if key.is_relative_to(installation.data_dir.resolve()):
        clear.append(key)
    for path in clear:
        yield Finding(
            Verdict.FAIL,
            "secrets",
            f"{path} lies in the clear in the data dir: every backup holds it",
            "keep the master key outside the data dir and start the server of this release once; then change what was in old backups",
        )


def certificate(installation: Installation) -> Iterator[Finding]:
    """Does the installation's own certificate last?"""
    path = installation.data_dir / "tls" / "server.pem"
    if path.exists():
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        yield from lasts("TLS", "the server's certificate", ends, "restart the server: it renews its own certificate")


def programs(_installation: Installation) -> Iterator[Finding]:
    """Is what the server calls here?"""
    git = shutil.which("git")
    if git is None:
        yield Finding(
            Verdict.FAIL, "programs", "git is not installed", "install it: repositories cannot be served without it"
        )
    else:
        said = subprocess.run(
            [git, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout.strip()
        yield Finding(Verdict.OK, "programs", said)


def rotation_commands(installation: Installation) -> Iterator[Finding]:
    """Are the programs here that rotate secrets? As the user who asks."""
    for text in installation.rotation_commands:
        if why := program_missing(text):
            yield Finding(Verdict.FAIL, "secrets", why, "a server does not start like this")


def builds(installation: Installation) -> Iterator[Finding]:
    """Can builds run here, apart from the server's files, and within limits? As the user who asks."""
    settings = Settings(data_dir=installation.data_dir, master_key_file=installation.master_key_file)
    try:
        choice = choose_for(settings)
    except RuntimeRefused as refused:
        yield Finding(Verdict.FAIL, "builds", str(refused), "a server does not start like this")
        return
    if choice.runtime is None or not choice.runtime.isolates:
        message = choice.offer.message
        why = f"builds run with the runtime {choice.name}: {message}" if choice.name else message
        wanted = " or ".join(package for runtime in registry.every() if runtime.isolates for package in runtime.needs)
        yield Finding(
            Verdict.WARN, "builds", why, f"install {wanted}: without it builds are hardly isolated, or cannot run"
        )
        return
    yield Finding(Verdict.OK, "builds", f"{choice.name}: {choice.offer.message}")
    for controller, reason in cgroups.missing().items():
        yield Finding(
            Verdict.WARN,
            "builds",
            f"no control group limits the {controller} of builds: {reason}",
            "run the server as root, or by systemd with Delegate=yes and DelegateSubgroup=server",
        )
