"""`penstock init`: what it finds out of a project, what it writes, and that it runs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from penstock_agents import agents
from penstock_live import live  # noqa: F401 - the fixture
from penstock_waiting import until

from penstock.cli.declared_files import check_file
from penstock.cli.exits import Exit
from penstock.cli.init.projects import NoProject, name_of, project_in
from penstock.cli.init.written import Place, files_of
from penstock.cli.main import main

VITE = {"scripts": {"start": "vite", "build": "vite build", "test": "vitest run"}, "devDependencies": {"vite": "7"}}
EXPRESS = {"scripts": {"start": "node index.js", "test": 'echo "Error: no test specified" && exit 1'}}
PROJECTS = {
    "python without dependencies": (
        {"app.py": "", "tests/test_app.py": ""},
        {"kind": "Python", "test": ("python3 -m unittest discover -s tests -v",), "start": "python3 app.py", "install": ()},
    ),
    "python with pytest": (
        {"requirements.txt": "flask\n", "requirements-dev.txt": "pytest\n", "main.py": ""},
        {
            "install": ("python3 -m pip install --quiet --target vendor -r requirements.txt",),
            "test": (
                'tests=$(mktemp -d) && python3 -m venv "$tests"',
                '"$tests/bin/pip" install --quiet pytest -r requirements.txt',
                '"$tests/bin/python" -m pytest',
            ),
            "start": "env PYTHONPATH=vendor python3 main.py",
        },
    ),
    "python by pyproject": (
        {"pyproject.toml": '[project]\nname = "x"\ndependencies = ["httpx"]\n', "shop/__main__.py": "", "Makefile": "test: build\n\ttrue\n"},
        {"install": ("python3 -m pip install --quiet --target vendor .",), "test": ("make test",), "start": "env PYTHONPATH=vendor python3 -m shop"},
    ),
    "django": ({"manage.py": "", "Procfile": "web: gunicorn shop.wsgi\n"}, {"start": "gunicorn shop.wsgi"}),
    "a library": ({"setup.py": ""}, {"start": "", "unknown": ("how it is started",)}),
    "node": (
        {"package.json": json.dumps(EXPRESS), "package-lock.json": "{}"},
        {"kind": "Node.js", "install": ("npm ci",), "test": (), "build": (), "start": "npm start", "site": ""},
    ),
    "a front end": (
        {"package.json": json.dumps(VITE), "yarn.lock": ""},
        {"install": ("yarn install --frozen-lockfile",), "test": ("yarn test",), "build": ("yarn run build",), "site": "dist", "start": ""},
    ),
    "go": ({"go.mod": "module shop\n", "main.go": "package main\n"}, {"kind": "Go", "build": ("CGO_ENABLED=0 go build -o shop .",), "start": "./shop"}),
    "go below cmd": ({"go.mod": "module shop\n", "cmd/web/main.go": "package main\n"}, {"build": ("CGO_ENABLED=0 go build -o shop ./cmd/web",)}),
    "maven": ({"pom.xml": "<project/>", "mvnw": ""}, {"kind": "Java", "start": "java -jar shop.jar", "files": ("shop.jar",)}),
    "gradle": ({"build.gradle.kts": ""}, {"kind": "Java", "start": "java -jar shop.jar"}),
    "a site": ({"index.html": ""}, {"kind": "static site", "site": ".", "start": ""}),
    "a site in a folder": ({"public/index.html": ""}, {"site": "public", "files": ("public/**/*",)}),
    "a container": ({"Dockerfile": "FROM x\nEXPOSE 80\n"}, {"kind": "container", "files": ("image.tar",), "unknown": ()}),
}  # fmt: skip


def laid_out(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize("case", PROJECTS)
@pytest.mark.parametrize("to_hosts", [True, False])
def test_what_is_found_out_and_that_what_is_written_is_in_order(case, to_hosts, tmp_path):
    files, found = PROJECTS[case]
    project = project_in(laid_out(tmp_path, files), "shop")
    assert {name: getattr(project, name) for name in found} == found
    place = Place(account="111111111111", region="us-east-1", partition="aws", branch="main", to_hosts=to_hosts)
    written = files_of(project, place)
    laid_out(tmp_path, written)
    for name in (one for one in written if one.endswith(("yml", "yaml"))):
        checked = check_file(tmp_path / name, region="us-east-1")
        assert checked.kind == name.split(".")[0]
        assert checked.findings == []
    for script in (tmp_path / one for one in written if one.endswith(".sh")):
        subprocess.run(["sh", "-n", str(script)], check=True)
    stages = [one["name"] for one in yaml.safe_load(written["pipeline.yaml"])["pipeline"]["stages"]]
    assert stages == ["Source", "Build", *(["Deploy"] if to_hosts or project.is_static else [])]
    if to_hosts:
        artifacts = yaml.safe_load(written["buildspec.yml"])["artifacts"]
        assert artifacts["files"] == ["**/*"] or {"appspec.yml", "deploy/**/*"} <= set(artifacts["files"])


def test_a_container_comes_first_where_there_is_an_engine(tmp_path):
    laid_out(tmp_path, {"Dockerfile": "FROM x\n", "app.py": ""})
    assert project_in(tmp_path, "x").kind == "Python"
    container = project_in(tmp_path, "x", engine="podman")
    assert (container.kind, container.unknown) == ("container", ("which port it serves (EXPOSE)",))


@pytest.mark.parametrize(
    ("folder", "name"), [("Shop 2.0", "shop-2-0"), ("--", "project"), ("x" * 60, "x" * 40), ("Lädchen", "l-dchen")]
)
def test_a_name_is_one_for_buckets_and_roles(folder, name):
    assert name_of(Path("/somewhere") / folder) == name


def test_what_is_no_project_and_what_cannot_be_read(tmp_path):
    with pytest.raises(NoProject, match=r"holds nothing that is recognised: a project has pyproject\.toml"):
        project_in(tmp_path)
    laid_out(tmp_path, {"package.json": "{" * 100_000})
    with pytest.raises(NoProject, match=r"package\.json cannot be read"):
        project_in(tmp_path)


# --- against a server ------------------------------------------------------------------------------------------------


@pytest.fixture
def penstock(live, tmp_path, capsys):  # noqa: F811 - the fixture
    """Runs `penstock init` on a project with these files; its exit code and what it printed."""

    def penstock(folder, *more):
        code = main(["init", str(folder), *more, "--data-dir", str(live.data_dir)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return penstock


SERVER = {
    "server.py": "import time\nprint('serving', flush=True)\nwhile True:\n    time.sleep(1)\n",
    "tests/test_server.py": "import unittest\n\n\nclass Test(unittest.TestCase):\n    def test_it(self):\n        pass\n",
}


def test_nothing_is_written_by_a_dry_run(live, tmp_path, penstock):  # noqa: F811 - the fixture
    folder = laid_out(tmp_path / "dry", {"index.html": "<h1>hello</h1>"})
    code, said = penstock(folder, "--dry-run")
    assert (code, sorted(path.name for path in folder.iterdir())) == (Exit.DONE, ["index.html"])
    assert "dry: static site, branch main, to the bucket dry-site-111111111111" in said
    assert "--- pipeline.yaml" in said
    code, said = penstock(folder, "--no-run")
    assert code == Exit.DONE
    assert sorted(path.name for path in folder.iterdir()) == ["buildspec.yml", "index.html", "pipeline.yaml"]
    assert "Nothing was made on the server." in said
    names = [one["name"] for one in live.client("codepipeline").list_pipelines()["pipelines"]]
    assert "dry" not in names


def test_files_that_are_there_are_kept(tmp_path, penstock):
    folder = laid_out(tmp_path / "kept", {"app.py": "", "buildspec.yml": "version: 0.2\n"})
    code, said = penstock(folder, "--no-run")
    assert code == Exit.DONE
    assert "kept     buildspec.yml (--force writes over it)" in said
    assert (folder / "buildspec.yml").read_text() == "version: 0.2\n"
    code, said = penstock(folder, "--no-run", "--name", "other")
    assert (code, "declares the pipeline kept: give --name kept" in said) == (Exit.USAGE, True)
    assert penstock(folder, "--no-run", "--force")[0] == Exit.DONE
    assert "compileall" in (folder / "buildspec.yml").read_text()
    (folder / "buildspec.yml").unlink()
    (folder / "buildspec.yml").symlink_to(tmp_path / "elsewhere")
    code, said = penstock(folder, "--no-run", "--force")
    assert (code, "is a symbolic link" in said) == (Exit.USAGE, True)
    assert not (tmp_path / "elsewhere").exists()


def test_what_cannot_be_done_is_said(tmp_path, penstock):
    assert penstock(tmp_path / "none")[0] == Exit.USAGE
    folder = laid_out(tmp_path / "lonely", {"app.py": ""})
    code, said = penstock(folder, "--hosts", "app=nobody")
    assert (code, "no host has the tag app=nobody. To let one join: penstock hosts join" in said) == (Exit.USAGE, True)


def test_a_project_is_built_and_then_delivered_to_hosts_that_have_joined(live, tmp_path, penstock):  # noqa: F811 - the fixture
    folder = laid_out(tmp_path / "shop", SERVER)
    code, said = penstock(folder)
    assert code == Exit.DONE, said
    assert "no host has the tag app=shop. To let one join: penstock hosts join shop-1 --tag app=shop" in said
    assert "Ran 1 test" in said
    with agents(live, tmp_path / "hosts", "shop-1", tags="Key=app,Value=shop") as (agent,):
        pid_file, log = agent.root / "run" / "shop.pid", agent.root / "var" / "log" / "shop.log"
        try:
            code, said = penstock(folder, "--force")
            assert code == Exit.DONE, said
            assert "to 1 host with the tag app=shop" in said
            assert "shop-1 succeeded" in said
            assert log.read_text() == "serving\n"
            first = int(pid_file.read_text())
            # Again, without anything new: the release before it is ended.
            code, said = penstock(folder)
            assert code == Exit.DONE, said
            second = int(pid_file.read_text())
            assert second != first
            until(lambda: not _lives(first))
            assert _lives(second)
        finally:
            with contextlib.suppress(OSError, ValueError):
                os.killpg(int(pid_file.read_text()), signal.SIGKILL)
    code, said = penstock(laid_out(tmp_path / "other", SERVER), "--dry-run")
    assert "built only, since no host has the tag app=other." in said
    assert "name one of their tags with --hosts: app=shop (1)." in said
    branches = live.client("codecommit").list_branches(repositoryName="shop")["branches"]
    assert branches == ["main"]


def test_a_site_is_tested_and_delivered_to_a_bucket(live, tmp_path, penstock):  # noqa: F811 - the fixture
    page = {
        "index.html": "<h1>hello</h1>",
        "css/site.css": "h1 { color: green }",
        "Makefile": "test:\n\tgrep -q hello index.html\n",
    }
    folder = laid_out(tmp_path / "pages", page)
    code, said = penstock(folder)
    assert code == Exit.DONE, said
    s3 = live.client("s3")
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket="pages-site-111111111111")["Contents"]]
    assert keys == ["Makefile", "css/site.css", "index.html"]
    assert s3.get_object(Bucket="pages-site-111111111111", Key="css/site.css")["ContentType"] == "text/css"
    (folder / "index.html").write_text("<h1>good bye</h1>")
    code, said = penstock(folder)  # what is not committed stays on this machine
    assert code == Exit.DONE, said
    subprocess.run(["git", "commit", "--quiet", "--all", "-m", "Other words"], cwd=folder, check=True, env=AUTHOR)
    code, said = penstock(folder)
    assert (code, "Build failed" in said) == (Exit.FAILED, True)
    assert s3.get_object(Bucket="pages-site-111111111111", Key="index.html")["Body"].read() == b"<h1>hello</h1>"


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_a_front_end_of_node_is_built(live, tmp_path, penstock):  # noqa: F811 - the fixture
    scripts = {"test": "node --check build.js", "build": "node build.js"}
    build = "const fs = require('fs'); fs.mkdirSync('dist'); fs.writeFileSync('dist/index.html', 'built');\n"
    folder = laid_out(
        tmp_path / "front", {"package.json": json.dumps({"name": "front", "scripts": scripts}), "build.js": build}
    )
    code, said = penstock(folder)
    assert code == Exit.DONE, said
    got = live.client("s3").get_object(Bucket="front-site-111111111111", Key="index.html")
    assert (got["Body"].read(), got["ContentType"]) == (b"built", "text/html")


AUTHOR = {**os.environ, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}  # fmt: skip


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
