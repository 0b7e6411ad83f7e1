"""What users install: the wheel holds everything that a server needs, and the service unit and image start it rightly."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("penstock-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A Python with the wheel, and this one's packages for what the wheel depends on; never the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(site)
    # Folders that a .pth file names have their own .pth files left unread: the checkout is not among them.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin" / "python"
    where = subprocess.run(
        [python, "-c", "import penstock; print(penstock.__file__)"], capture_output=True, text=True, check=True
    )
    assert where.stdout.startswith(str(site))
    return python


@contextlib.contextmanager
def server(python, folder):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    command = [python, "-m", "penstock.cli.main", "up", "--data-dir", "data", "--master-key-file", "key", "--port", "0"]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("penstock ready "), process.stderr.read()
        yield line.split()[2]
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_server_from_the_wheel_serves_apis_console_and_our_own_service(installed, tmp_path):
    with server(installed, tmp_path) as url:
        with urllib.request.urlopen(url + "/console/login") as page:
            assert b"Sign in" in page.read()
        for name in ("console.css", "console.js", "icon.svg"):
            assert urllib.request.urlopen(f"{url}/console/static/{name}").status == 200
        run = [installed, "-m", "penstock.cli.main"]
        status = subprocess.run(
            [*run, "status", "--json", "--data-dir", "data"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert json.loads(status.stdout)["ready"] is True
        user = [*run, "user", "add", "ada", "--admin", "--data-dir", "data"]
        assert (
            "/console/welcome/" in subprocess.run(user, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        )
    assert subprocess.run([*run, "--version"], capture_output=True, text=True, check=True).stdout.startswith(
        "penstock "
    )


def test_the_wheel_carries_the_demos_application(wheel):
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    packaged = {name.removeprefix("penstock/cli/demo/hello-web/") for name in names if "/hello-web/" in name}
    example = ROOT / "examples" / "hello-web"
    assert packaged == {str(path.relative_to(example)) for path in example.rglob("*") if path.is_file()}


def test_the_service_unit_starts_what_the_command_line_knows():
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    unit.optionxform = str
    unit.read(ROOT / "packaging" / "penstock.service")
    command = unit["Service"]["ExecStart"].split()
    assert command[0] == "/opt/penstock/bin/penstock"
    from penstock.cli.main import parser_of

    options = parser_of(command[1]).parse_args([word for word in command[2:] if not word.startswith("$")])
    # The key lies apart from the data, or a backup of the data would hold its own key.
    assert options.master_key_file.parent != options.data_dir
    assert unit["Service"]["KillMode"] == "process"  # builds live on while the server restarts
    if (verify := shutil.which("systemd-analyze")) is not None:
        done = subprocess.run(
            [verify, "verify", "--man=no", str(ROOT / "packaging" / "penstock.service")],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        # Older releases of systemd skip what they do not know; the unit is written for that.
        unknown = [line for line in done.stderr.splitlines() if "Unknown" in line and "DelegateSubgroup" not in line]
        assert unknown == []
