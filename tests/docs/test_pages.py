"""The documentation is held to the code: links resolve, commands exist, generated pages are fresh, nothing lacks its page."""

from __future__ import annotations

import argparse
import re
import shlex
import textwrap
import tomllib
from pathlib import Path

import pytest
from awscli.clidriver import create_clidriver
from awscli.paramfile import PARAMFILE_DISABLED

from penstock import MODELS
from penstock.cli import docs, main
from penstock_agent import cli as agent_cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "agent", ROOT / "examples")
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
)
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs" / "how-to").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} links to {link}"


def test_the_readme_names_every_guide():
    text = (ROOT / "README.md").read_text()
    missing = [page.name for page in GUIDES[1:] if f"(docs/how-to/{page.name})" not in text]
    assert not missing, f"README.md does not link to {missing}"


def test_shell_blocks_name_operations_of_the_cli():
    services = create_clidriver()._get_command_table()
    tables: dict[str, object] = {}
    for page in GUIDES:
        for block in re.findall(r"^```sh$\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
            for service, operation in re.findall(r"(?:^|\$\()aws ([a-z0-9-]+) ([a-z0-9-]+)", block, re.MULTILINE):
                if service in services:
                    if service not in tables:
                        tables[service] = services[service].create_help_command().command_table
                    assert operation in tables[service], f"{page.name}: aws {service} {operation}"


def test_no_option_is_an_address_that_the_cli_would_fetch():
    """Version 1 of the AWS CLI puts what an address answers in its place, but for a few options."""
    for page in [*GUIDES, *(ROOT / "examples").rglob("*.md"), *(ROOT / "examples").rglob("*.sh")]:
        text = page.read_text().replace("\\\n", " ")
        for service, operation, options in re.findall(r"\baws ([a-z0-9-]+) ([a-z0-9-]+)(.*)", text):
            for option in re.findall(r"--([a-z-]+)[= ][\"']?https?://", options):
                assert f"{service}.{operation}.{option}" in PARAMFILE_DISABLED, f"{page.name}: {operation} --{option}"


async def test_generated_pages_are_fresh():
    for path, text in (await docs._pages()).items():
        assert path.read_text() == text, f"{path.name} is out of date; run: make docs"


def commands(page: Path) -> list[list[str]]:
    """Every `aws`, `penstock`, `penstock-agent` and `make` command of the page's blocks, as arguments."""
    found = []
    for block in re.findall(r"^```$\n(.*?)^```$|^```.+?^```$", page.read_text(), re.DOTALL | re.MULTILINE):
        for line in re.split(r"\n", re.sub(r"<<EOF\n.*?\nEOF\n", "\n", block, flags=re.DOTALL)):
            for start in re.finditer(r"(?:^|&& |\$\(|<\()\s*(aws|penstock|penstock-agent|make) ", line):
                rest = line[start.start(1) :]
                rest = re.split(r" && | \| | &$|\s2> |\s>> |; ", re.sub(r'"\$\([^)]*\)"', "SUBSTITUTED", rest))[0]
                if line[start.start() : start.start(1)].strip() in {"$(", "<("}:
                    rest = rest[: closing(rest)]
                found.append(shlex.split(rest, comments=True))
    return found


def closing(text: str) -> int:
    """Where the substitution ends that `text` is the inside of."""
    depth = 0
    for place, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth < 0:
            return place
    return len(text)


DOCUMENTED = [
    pytest.param(command_line, id=f"{page.stem}-{n}")
    for page in GUIDES
    for n, command_line in enumerate(commands(page))
]


@pytest.fixture(scope="module")
def aws_commands():
    driver = create_clidriver()
    driver.session.get_component("data_loader").search_paths.append(str(MODELS))  # what `penstock env` does
    return driver._get_command_table()


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("command_line", DOCUMENTED)
def test_documented_commands_exist(command_line, aws_commands, monkeypatch):
    monkeypatch.setattr("penstock.cli.arguments.of_setting", lambda parse: str)  # files that a page names are not here
    program, *arguments = command_line
    match program:
        case "make":
            assert arguments[0] in make_targets()
        case "penstock":
            assert arguments[0] in main.COMMANDS
            penstock_options(arguments)
        case "penstock-agent":
            agent_cli.parser().parse_args(arguments)
        case "aws":
            aws_arguments(arguments, aws_commands)


def penstock_options(arguments: list[str]) -> None:
    import importlib

    command, *options = arguments
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(f"penstock.cli.{main.COMMANDS[command][0]}").add_arguments(parser, command)
    parser.parse_args(options)


def aws_arguments(arguments: list[str], table) -> None:
    service, operation, *options = arguments
    assert service in table, service
    below = table[service].subcommand_table if hasattr(table[service], "subcommand_table") else None
    if below is None:
        below = table[service]._get_command_table()
    assert operation in below, f"aws {service} {operation}"
    chosen = below[operation]
    if options and options[0] in getattr(chosen, "subcommand_table", {}):
        chosen = chosen.subcommand_table[options[0]]
    known = chosen.arg_table
    ours = {"--query", "--output", "--region", "--profile"}
    for option in options:
        if option.startswith("--") and option not in ours:
            assert option[2:].removeprefix("no-") in known, f"aws {service} {operation} {option}"


def test_commands_were_found():
    assert len(DOCUMENTED) > 60


def test_every_action_provider_and_runtime_has_its_page():
    for source, pages in (("pipelines/actions", "actions"), ("sandbox/runtimes", "runtimes")):
        folder = ROOT / "src" / "penstock" / source
        names = {path.stem for path in folder.glob("*.py")} - {"__init__", "not_run", "provider"}
        assert names
        for name in names:
            assert (ROOT / "docs" / "reference" / pages / f"{name}.md").is_file(), f"{name} has no page in {pages}"


def test_every_decision_is_listed():
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text()
    for page in folder.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in listed, page.name


def test_every_dependency_has_its_reason():
    reasons = (ROOT / "docs" / "decisions" / "dependencies.md").read_text().lower()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["cli"], *(one for one in extras["dev"] if one != "penstock[cli]")]
    for requirement in wanted:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        word = name[0].lower().removeprefix("pytest-")
        assert word in reasons, f"{name[0]} is not in dependencies.md"


def test_no_page_names_the_machine_it_was_written_on():
    for page in PAGES:
        assert f"{ROOT}/" not in page.read_text(), page


SAMPLE = ROOT / "tests" / "support" / "sample_counters"
RECIPES = ("A component", "An operation", "An aggregate", "An event", "A setting", "A page of the console")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_quotes_the_sample_as_it_is(recipe):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = re.search(rf"^### {recipe}\n(.*?)^### ", text, re.DOTALL | re.MULTILINE)[1]
    quoted = [
        textwrap.dedent(block) for block in re.findall(r"^ *```python\n(.*?)^ *```$", section, re.DOTALL | re.MULTILINE)
    ]
    sources = [f"\n{path.read_text()}" for path in SAMPLE.glob("*.py")]
    assert quoted
    assert [block for block in quoted if not any(f"\n{block}" in source for source in sources)] == []


def test_every_python_block_of_contributing_is_in_a_recipe_of_the_sample():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    sections = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE))
    assert text.count("```python") == sum(sections[recipe].count("```python") for recipe in RECIPES)
