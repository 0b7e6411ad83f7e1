"""Where the server's own files lie on this host, as far as builds must not see them, and what builds are shown beside the system's folders."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from penstock.application import Settings
from penstock.sandbox.specification import Layout
from penstock.store.masterkeys import default_path

# In the home of the server's user, which can lie below /opt or /usr.
_HOME = (
    ".aws",
    ".azure",
    ".config",
    ".docker",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".local/share",
    ".netrc",
    ".pgpass",
    ".ssh",
)


def layout_of(settings: Settings) -> Layout:
    """Both lists for these settings. Looks at the disk: not for the loop."""
    hidden = {str(path.absolute()) for path in _private(settings)}
    return Layout(hidden=tuple(sorted(hidden)), exposed=exposed_folders(settings.data_dir))


def _private(settings: Settings) -> Iterator[Path]:
    yield settings.data_dir
    yield default_path().parent
    for file in (settings.master_key_file, settings.tls_key):
        if file:
            yield file
            yield from _beside(file)
    for name in _HOME:
        path = Path.home() / name
        if path.exists():
            yield path


def _beside(file: Path) -> Iterator[Path]:
    """Files of the key's folder that are as private as the key: more keys, credentials."""
    try:
        for other in file.absolute().parent.iterdir():
            if not other.is_symlink() and other.is_file() and not other.stat().st_mode & 0o044:
                yield other
    except OSError:
        return  # what the server cannot list, its builds cannot either


def exposed_folders(data_dir: Path) -> tuple[str, ...]:
    """Folders of the interpreter that runs the server (for `aws`, `python3` and boto3), unless a secret could be below."""
    found: list[str] = []
    for folder in dict.fromkeys((sys.base_prefix, sys.prefix)):
        path = Path(folder).resolve()
        standard = path.parts[1:2] in (("usr",), ("opt",), ("nix",)) or path == Path("/")
        if not standard and not data_dir.resolve().is_relative_to(path) and path != Path.home().resolve():
            found.append(str(path))
    return tuple(found)
