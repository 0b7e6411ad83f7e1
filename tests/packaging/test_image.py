"""The image of packaging/Containerfile is built, on a Debian made from its packages since no registry is asked, and its server answers."""

from __future__ import annotations

import os
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MIRROR = "http://deb.debian.org/debian"
_MINUTES = 60
# Without a kernel that lets a test manage cgroups and limits, the run needs these (they are the test's, not the image's).
_PODMAN = "--cgroup-manager cgroupfs --runtime crun run --rm --network host --cgroups disabled --ulimit nofile=1024:1024 --ulimit nproc=1000:1000"


@pytest.mark.prove
@pytest.mark.timeout(30 * _MINUTES)
@pytest.mark.needs("buildah", "podman", "debootstrap")
def test_the_image_builds_and_its_server_answers(tmp_path):
    base = tmp_path / "base"
    _run("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", base, MIRROR, minutes=10)
    running = tempfile.mkdtemp(prefix="image-", dir="/tmp")  # podman takes no more than 50 characters
    store = ["--root", tmp_path / "store", "--runroot", running, "--storage-driver", "vfs"]
    container = _run("buildah", *store, "from", "scratch").strip()
    _run("buildah", *store, "add", "--quiet", container, f"{base}/", "/", minutes=5)
    _run("buildah", *store, "commit", "--quiet", container, "localhost/bookworm", minutes=5)
    authorities = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
    trust = ["-v", f"{authorities}:/etc/ssl/certs/ca-certificates.crt:ro"] if authorities else []
    build = ["bud", "--isolation", "chroot", "--pull=never", "--build-arg", "BASE=localhost/bookworm", *trust]
    _run(
        "buildah", *store, *build, "-t", "penstock", "-f", ROOT / "packaging/Containerfile", ROOT,
        minutes=15,
    )  # fmt: skip
    options = " ".join(map(str, store))
    server = "up --data-dir /var/lib/penstock --master-key-file /etc/penstock/master.key --port 0"
    script = f"umount /sys/fs/cgroup/unified 2>/dev/null; exec podman {options} {_PODMAN} localhost/penstock {server}"
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("penstock ready "), line
        assert _answers(line.split()[2] + "/console/login")
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _run(*command: object, minutes: float = 1) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=minutes * _MINUTES, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def _answers(url: str) -> bool:
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        try:
            return urllib.request.urlopen(url, timeout=60).status == 200
        except urllib.error.URLError:
            continue
    return False
