"""What the project in a folder is, as its files tell: its language, and how it is tested, built and started."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOST = 256 * 1024  # bytes that are read of a file
_LISTED = 2_000  # names that are looked at in a folder
_NAME = 40  # characters
PORT = "8080"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What is to be delivered. `start` runs in the folder of its release on a host, the others in the project's."""

    name: str
    kind: str  # for people: Python, Node.js, …
    install: Sequence[str] = ()
    test: Sequence[str] = ()
    build: Sequence[str] = ()
    files: Sequence[str] = ("**/*",)  # globs of what is delivered
    site: str = ""  # of a static site: its folder, or "." for the project's
    start: str = ""  # "" for what is not started, such as a static site
    stop: str = ""  # instead of ending the process that `start` began
    unknown: Sequence[str] = ()  # what could not be found out

    @property
    def is_static(self) -> bool:
        """Whether it is a folder of files that a web server gives out."""
        return bool(self.site)


class NoProject(Exception):
    """The folder holds nothing that is known here."""


def project_in(folder: Path, name: str = "", *, engine: str = "") -> Project:
    """The project of a folder. `engine` is the container engine of this machine, or "". Raises NoProject."""
    named = name or name_of(folder)
    for recognise in (*((_container,) if engine else ()), _node, _go, _java, _python, _static, _container):
        found = recognise(folder, named)
        if found is not None:
            return found
    raise NoProject(
        f"{folder} holds nothing that is recognised: a project has pyproject.toml, requirements.txt or *.py, package.json, go.mod, "
        "pom.xml, build.gradle, a Dockerfile, or index.html"
    )


def name_of(folder: Path) -> str:
    """A name for a pipeline and what belongs to it, after a folder: lower-case letters, digits and hyphens."""
    plain = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:_NAME].strip("-")
    return plain or "project"


# --- each kind ---------------------------------------------------------------------------------------------------------


def _python(folder: Path, name: str) -> Project | None:
    sources = [path.name for path in _listed(folder) if path.suffix == ".py"]
    marks = ("pyproject.toml", "setup.py", "requirements.txt")
    if not sources and not any((folder / mark).is_file() for mark in marks):
        return None
    wanted = _requirements(folder)
    start = _procfile(folder) or _python_start(folder, sources)
    return Project(
        name=name,
        kind="Python",
        install=(f"python3 -m pip install --quiet --target vendor {wanted}",) if wanted else (),
        test=_make_test(folder) or _python_tests(folder, wanted, has_sources=bool(sources)),
        start=f"env PYTHONPATH=vendor {start}" if start and wanted else start,
        unknown=() if start else ("how it is started",),
    )


def _requirements(folder: Path) -> str:
    """What pip is given; "" for a project without dependencies."""
    if any(line.split("#")[0].strip() for line in _text(folder / "requirements.txt").splitlines()):
        return "-r requirements.txt"
    return "." if _pyproject(folder).get("project", {}).get("dependencies") else ""


def _python_tests(folder: Path, wanted: str, *, has_sources: bool) -> Sequence[str]:
    told = "".join(_text(path) for path in _listed(folder) if path.name.startswith(("requirements", "tox", "pytest")))
    uses_pytest = "pytest" in told + _text(folder / "pyproject.toml") + _text(folder / "setup.cfg")
    tests = next((one for one in ("tests", "test") if (folder / one).is_dir()), "")
    if uses_pytest or (folder / "conftest.py").is_file() or (tests and (folder / tests / "conftest.py").is_file()):
        return (
            'tests=$(mktemp -d) && python3 -m venv "$tests"',
            f'"$tests/bin/pip" install --quiet pytest {wanted}'.rstrip(),
            '"$tests/bin/python" -m pytest',
        )
    path = "env PYTHONPATH=vendor " if wanted else ""
    if tests:
        package = "" if (folder / tests / "__init__.py").is_file() else f" -s {tests}"
        return (f"{path}python3 -m unittest discover{package} -v",)
    if any(path.name.startswith("test_") and path.suffix == ".py" for path in _listed(folder)):
        return (f"{path}python3 -m unittest discover -v",)
    return ("python3 -m compileall -q .",) if has_sources else ()


def _python_start(folder: Path, sources: Sequence[str]) -> str:
    if "manage.py" in sources:
        return f"python3 manage.py runserver 0.0.0.0:${{PORT:-{PORT}}}"
    script = next((one for one in ("server.py", "app.py", "main.py") if one in sources), "")
    if script:
        return f"python3 {script}"
    package = next((path.name for path in _listed(folder) if (path / "__main__.py").is_file()), "")
    return f"python3 -m {package}" if package else ""


def _node(folder: Path, name: str) -> Project | None:
    if not (folder / "package.json").is_file():
        return None
    scripts = _package(folder).get("scripts", {})
    scripts = scripts if isinstance(scripts, dict) else {}
    tool = "pnpm" if (folder / "pnpm-lock.yaml").is_file() else "yarn" if (folder / "yarn.lock").is_file() else "npm"
    install = {
        "pnpm": "pnpm install --frozen-lockfile",
        "yarn": "yarn install --frozen-lockfile",
        "npm": "npm ci" if (folder / "package-lock.json").is_file() else "npm install",
    }[tool]
    has_test = "test" in scripts and "no test specified" not in str(scripts["test"])
    main = "server.js" if (folder / "server.js").is_file() else ""
    start = _procfile(folder) or (f"{tool} start" if "start" in scripts else f"node {main}" if main else "")
    # A start of such tools serves the sources to a developer.
    serves = "build" in scripts and (
        not start or re.search(r"\b(vite|webpack|react-scripts|ng|astro|parcel)\b", str(scripts.get("start", "")))
    )
    site = _site_of(_package(folder)) if serves else ""
    return Project(
        name=name,
        kind="Node.js",
        install=(install,),
        test=(f"{tool} test",) if has_test else (),
        build=(f"{tool} run build",) if "build" in scripts else (),
        site=site,
        files=(f"{site}/**/*",) if site else ("**/*",),
        start="" if site else start,
        unknown=() if site or start else ("how it is started",),
    )  # fmt: skip


def _site_of(package: dict[str, Any]) -> str:
    """The folder that the build of a front end writes."""
    known = {
        "react-scripts": "build",
        "vite": "dist",
        "astro": "dist",
        "parcel": "dist",
        "gatsby": "public",
        "@11ty/eleventy": "_site",
    }
    wanted = {**_dictionary(package.get("dependencies")), **_dictionary(package.get("devDependencies"))}
    return next((site for tool, site in known.items() if tool in wanted), "dist")  # fmt: skip


def _go(folder: Path, name: str) -> Project | None:
    if not (folder / "go.mod").is_file():
        return None
    commands = sorted(path.name for path in _listed(folder / "cmd") if path.is_dir())
    is_program = any("package main" in _text(path) for path in _listed(folder) if path.suffix == ".go")
    what = "." if is_program or len(commands) != 1 else f"./cmd/{commands[0]}"
    return Project(
        name=name,
        kind="Go",
        test=_make_test(folder) or ("go vet ./...", "go test ./..."),
        build=(f"CGO_ENABLED=0 go build -o {name} {what}",),
        files=(name,),
        start=_procfile(folder) or f"./{name}",
        unknown=() if is_program or len(commands) == 1 else ("which package is the program",),
    )


def _java(folder: Path, name: str) -> Project | None:
    if (folder / "pom.xml").is_file():
        tool, built = "./mvnw" if (folder / "mvnw").is_file() else "mvn", "target"
        build = f"{tool} --batch-mode package"
    elif (folder / "build.gradle").is_file() or (folder / "build.gradle.kts").is_file():
        tool, built = "./gradlew" if (folder / "gradlew").is_file() else "gradle", "build/libs"
        build = f"{tool} --console=plain build"
    else:
        return None
    return Project(
        name=name,
        kind="Java",
        # Both tools run the tests before they pack.
        build=(build, f"cp \"$(ls -S {built}/*.jar | grep -v -e '-plain.jar$' -e '-sources.jar$' | head -n 1)\" {name}.jar"),
        files=(f"{name}.jar",),
        start=_procfile(folder) or f"java -jar {name}.jar",
    )  # fmt: skip


def _static(folder: Path, name: str) -> Project | None:
    site = next((one for one in (".", "public", "site", "www", "docs") if (folder / one / "index.html").is_file()), "")
    if not site:
        return None
    return Project(
        name=name,
        kind="static site",
        test=_make_test(folder),
        site=site,
        files=("**/*",) if site == "." else (f"{site}/**/*",),
    )


def _container(folder: Path, name: str) -> Project | None:
    recipe = next((one for one in ("Dockerfile", "Containerfile") if (folder / one).is_file()), "")
    if not recipe:
        return None
    port = re.search(r"^\s*EXPOSE\s+([0-9]{1,5})", _text(folder / recipe), re.MULTILINE | re.IGNORECASE)
    publish = f" --publish {port[1]}:{port[1]}" if port else ""
    find = "$(command -v podman || command -v docker)"
    return Project(
        name=name,
        kind="container",
        build=(f"{find} build --tag {name} --file {recipe} .", f"{find} save --output image.tar {name}"),
        files=("image.tar",),
        start=f"{find} load --input image.tar && {find} run --detach --name {name} --restart always{publish} {name}",
        stop=f"{find} rm --force {name}",
        unknown=() if port else ("which port it serves (EXPOSE)",),
    )


# --- reading ------------------------------------------------------------------------------------------------------------


def _make_test(folder: Path) -> Sequence[str]:
    """`make test`, where there is such a target."""
    return ("make test",) if re.search(r"^test\s*:(?!=)", _text(folder / "Makefile"), re.MULTILINE) else ()


def _procfile(folder: Path) -> str:
    """The command of the web process."""
    found = re.search(r"^web:[ \t]*(\S.*)$", _text(folder / "Procfile"), re.MULTILINE)
    return found[1].strip() if found else ""


def _package(folder: Path) -> dict[str, Any]:
    return _read(folder / "package.json", json.loads)


def _pyproject(folder: Path) -> dict[str, Any]:
    return _read(folder / "pyproject.toml", tomllib.loads)


def _read(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    """A document of a project. Raises NoProject for one that is not what its name says."""
    text = _text(path)
    try:
        found = parse(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise NoProject(f"{path} cannot be read: {error}") from None
    return _dictionary(found)


def _dictionary(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(path: Path) -> str:
    """The beginning of a file; "" without it."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST).decode(errors="replace")
    except OSError:
        return ""


def _listed(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without what is hidden."""
    try:
        found = (path for _, path in zip(range(_LISTED), folder.iterdir(), strict=False))
        return sorted(path for path in found if not path.name.startswith("."))
    except OSError:
        return []
