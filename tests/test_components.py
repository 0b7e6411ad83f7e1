"""The shape of components: what one declares is what the application serves."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

from penstock.app import component_settings, compose
from penstock.application import Settings
from penstock.component import Component, number_to, operations_of, options_of
from penstock.store import events
from penstock.store.catalogue import EventType, UndeclaredEvent
from penstock.store.fanout import matches
from penstock.store.ids import Ids
from penstock.wire.registry import Access

ROOT = Path(__file__).resolve().parents[1]


def _module(name, **functions):
    """A module that holds functions, as if they were written in it."""
    module = ModuleType(name)
    for called, function in functions.items():
        function.__module__ = name
        setattr(module, called, function)
    return module


async def _served(store, tmp_path, **how):
    """The operations of an application with one component of this kind, by service and name."""
    settings = Settings(data_dir=tmp_path / "data", master_key_file=tmp_path / "key")
    component = Component(name="sample", state="the state", **how)
    async with compose(settings, components=(lambda _app: component,), store=store) as app:
        return {(operation.service, operation.name): operation for operation in app.registry}


async def test_a_function_is_every_operation_that_it_is_declared_as_and_gets_the_state(store, tmp_path):
    sts, iam = operations_of("sts"), operations_of("iam", action_prefix="other")

    @sts("GetCallerIdentity", access=Access.AUTHENTICATED)
    @iam("GetUser")
    @iam("GetRole", action="iam:Look")
    async def found_now(state, call, input):
        return {"state": state, "call": call, "input": input}

    served = await _served(store, tmp_path, operations=(_module("sample.looking", found_now=found_now),))
    assert {name: operation.action for name, operation in served.items()} == {
        ("sts", "GetCallerIdentity"): "sts:GetCallerIdentity",
        ("iam", "GetUser"): "other:GetUser",
        ("iam", "GetRole"): "iam:Look",
    }
    assert [operation.access for operation in served.values()].count(Access.AUTHENTICATED) == 1
    for operation in served.values():
        assert await operation.handler("a call", "an input") == {
            "state": "the state",
            "call": "a call",
            "input": "an input",
        }


async def test_what_a_module_imports_is_not_declared_twice(store, tmp_path):
    operation = operations_of("sts")

    @operation("GetCallerIdentity")
    async def own(state, call, input):
        return {}

    module = _module("sample.own", own=own)
    other = _module("sample.other")
    other.own = own
    assert list(await _served(store, tmp_path, operations=(module,))) == [("sts", "GetCallerIdentity")]
    with pytest.raises(ValueError, match=r"sample\.other declares no operation"):
        await _served(store, tmp_path, operations=(module, other))


def test_only_compose_makes_an_application():
    """The product, the tests and the benchmarks are put together by one function."""
    makers = {
        str(path.relative_to(ROOT))
        for folder in ("src", "tests", "bench")
        for path in (ROOT / folder).rglob("*.py")
        if b"App(" in (source := path.read_bytes())  # parsing all of it takes seconds
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "App"
    }
    assert makers == {"src/penstock/app.py"}


IMPURE = {"asyncio", "httpx", "os", "random", "secrets", "socket", "sqlalchemy", "subprocess", "threading", "time", "penstock.store.database",
          "penstock.store.jobs", "penstock.wire.endpoint", "penstock.wire.invoke"}  # fmt: skip


def test_modules_that_say_that_they_are_pure_import_neither_clock_nor_chance_nor_io():
    """Import rules name the engines; here every module is held to what its own docstring says."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src").rglob("*.py"):
        source = path.read_text()
        if "Pure." not in source[:2000]:  # parsing all of it takes seconds
            continue
        module = ast.parse(source)
        if "Pure." in (ast.get_docstring(module) or ""):
            imports = [node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
            names = {name.name for node in imports if isinstance(node, ast.Import) for name in node.names}
            names |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
            found[str(path.relative_to(ROOT / "src"))] = names & IMPURE
    assert len(found) > 25
    assert {path: names for path, names in found.items() if names} == {}


async def test_what_is_subscribed_to_is_declared(store, tmp_path):
    """Subscribers name the events of other components by literals, since components do not import each other."""
    settings = Settings(data_dir=tmp_path / "data", master_key_file=tmp_path / "key")
    async with compose(settings, store=store) as app:
        declared = [event.name for event in app.store.subscribers.catalogue]
        subscribed = {type for types in app.events._types.values() for type in types}
    assert declared
    assert {"codecommit.reference.updated", "s3.object.created"} <= subscribed
    assert [type for type in subscribed if not any(matches([type], name) for name in declared)] == []


async def test_every_declared_event_is_described(store, tmp_path):
    settings = Settings(data_dir=tmp_path / "data", master_key_file=tmp_path / "key")
    async with compose(settings, store=store) as app:
        for event in app.store.subscribers.catalogue:
            assert event.sample, event.name
            assert event.description.endswith("."), event.name
            assert bool(event.source) == bool(event.detail_type), event.name


async def test_every_declared_page_can_be_reached_and_changes_with_its_events(store, tmp_path):
    """A misspelt operation would hide a page from everybody, and a misspelt event would leave a list as it was."""
    settings = Settings(data_dir=tmp_path / "data", master_key_file=tmp_path / "key")
    async with compose(settings, store=store) as app:
        in_rail = [page for page in app.pages if page.nav is not None]
        assert {"pipelines", "builds", "deployments"} <= {page.path for page in in_rail}
        assert [page.path for page in in_rail if app.registry.get(page.nav.service, page.nav.operation) is None] == []
        assert [page.path for page in in_rail if not page.title] == []
        keys = [page.nav.key for page in in_rail if page.nav.key]
        assert len(keys) == len(set(keys))
        declared = [event.name for event in app.store.subscribers.catalogue]
        live = [page for page in app.pages if page.events]
        assert [page.path for page in live if not any(name.startswith(page.events) for name in declared)] == []
        console = app.mounts["/console/"].__self__
        for template in {page.template for page in app.pages}:
            console.template(template)


async def test_an_event_that_no_component_declares_is_not_emitted(store, tmp_path):
    """Subscribers and rules know the declared ones only: the transaction fails, in the test that its author runs."""
    settings = Settings(data_dir=tmp_path / "data", master_key_file=tmp_path / "key")
    declared = EventType(name="sample.changed", description="It changed.", aggregate="sample")
    sample = Component(name="sample", state=None, events=(declared,))

    def emit(conn, type, aggregate, version):
        event = events.Event(
            type=type, account="1" * 12, region="us-east-1", aggregate=aggregate, payload={}, version=version
        )
        events.emit(conn, event, now=1, id=Ids().uuid())

    async with compose(settings, components=(lambda _app: sample,), store=store):
        await store.write(emit, "sample.changed", "sample/one", 1)
        for wrong in (
            ("sample.gone", "sample/one", 1),
            ("sample.changed", "other/one", 1),
            ("sample.changed", "sample/one", 2),
        ):
            with pytest.raises(UndeclaredEvent, match=wrong[0]):
                await store.write(emit, *wrong)
        assert [one.type for one in await store.read(events.after, 0)] == ["sample.changed"]


@pytest.mark.parametrize(
    "text",
    ["", "0", "x", "-1", "+1", " 1", "1.5", "1_0", "\u0661", "\u00b2", "8", "0000008", "000001000000", "9" * 5000],
)
def test_an_option_that_is_a_number_says_what_it_takes(text):
    for unit, said in (("", "a number from 1 to 7"), ("days", "a number of days from 1 to 7")):
        with pytest.raises(ValueError, match=f"^'.*' is not {said}$"):
            number_to(7, unit)(text)
    assert [number_to(7)(good) for good in ("1", "7", "007")] == [1, 7, 7]


def test_how_much_options_take():
    most = {"keep_days": 36_500, "session_hours": 720, "session_idle_minutes": 43_200, "host_certificate_days": 397}
    options = {option.name: option for kind in component_settings() for option in options_of(kind)}
    for name, number in most.items():
        parse = options[name].parse
        assert parse is not None
        assert parse(str(number)) == number
        with pytest.raises(ValueError, match=f" from 1 to {number}$"):
            parse(str(number + 1))
