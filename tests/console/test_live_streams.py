"""What a live page is sent: the blocks that changed, once, and a last word when it ends. And what a page is handed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from penstock_waiting import eventually
from starlette.requests import Request

from penstock.webpages import live
from penstock.webpages.detail import tag_facts
from penstock.webpages.listing import following
from penstock.webpages.live import Snapshot, Streams
from penstock.webpages.view import View, part
from penstock.wire.errors import Refused, ServiceError


class Page:
    """A page of what a test says, and the stream of it."""

    def __init__(self, *looks: Snapshot | Exception) -> None:
        self.looks = list(looks)
        self.taken = 0
        self.signed_in = True
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.streams = Streams(SimpleNamespace(events=self, clock=SimpleNamespace(now=lambda: 77)))  # type: ignore[arg-type]

    @contextlib.asynccontextmanager
    async def tap(self) -> AsyncIterator[asyncio.Queue[Any]]:
        yield self.queue

    async def take(self) -> Snapshot:
        self.taken += 1
        found = self.looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def still(self) -> bool:
        return self.signed_in

    def answer(self, concerns: Callable[[Any], bool] = bool) -> Any:
        return self.streams.of(self.take, concerns, user="u", still=self.still)

    async def sent(self) -> list[Any]:
        """Everything, to the end."""
        return [read(message) async for message in self.answer()._messages]


def read(message: bytes) -> Any:
    """`(event, id, data)` of a message, or what else it is."""
    lines = dict(line.split(": ", 1) for line in message.decode().removesuffix("\n\n").split("\n"))
    assert message.endswith(b"\n\n")
    if "data" not in lines:
        return lines
    return lines.get("event", ""), lines.get("id", ""), orjson.loads(lines["data"])


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(live, "_SETTLE_SECONDS", 0)
    monkeypatch.setattr(live, "_REST", 0)


NOW = ("now", "", 77)
END = ("end", "", {})


async def test_a_block_is_sent_again_when_it_has_changed_and_not_for_its_clocks():
    def shown(text: str, clock: int) -> dict[str, str]:
        return {"a": f'<p id="a">{text}<time datetime="{0}">{clock} s</time><i data-since="{clock}" x>{clock}</i></p>'}

    page = Page(
        Snapshot(shown("one", 1) | {"b": "<b>"}, more=True),
        Snapshot(shown("one", 2) | {"b": "<b>"}, [("log", "<i>")], "c7", more=True),
        Snapshot(shown("two", 3), over=True),
    )
    assert await page.sent() == [
        {"retry": "1000"},
        ("", "", {"id": "a", "html": shown("one", 1)["a"], "first": True}), ("", "", {"id": "b", "html": "<b>", "first": True}), NOW,
        ("", "", {"id": "log", "add": "<i>"}), ("now", "c7", 77),
        ("", "", {"id": "a", "html": shown("two", 3)["a"], "first": False}), NOW, END,
    ]  # fmt: skip


async def test_a_stream_says_why_it_ends():
    gone = "The page could not be made. The server's log says why."
    for fault, said in ((ServiceError("no such thing"), "no such thing"), (Refused("not you"), "not you"), (KeyError("x"), gone)):  # fmt: skip
        page = Page(Snapshot(more=True), fault)
        assert (await page.sent())[1:] == [NOW, ("gone", "", {"message": said})]
    page = Page()
    page.signed_in = False
    assert (await page.sent())[1:] == [("gone", "", {"message": "You are signed out."})]
    assert page.taken == 0


async def test_what_is_too_long_for_a_message_is_fetched_anew():
    room = (256 << 10) - len(orjson.dumps({"id": "a", "add": ""}))
    page = Page(Snapshot(adds=[("a", "x" * room), ("a", "x" * (room + 1))], over=True))
    fits, too_long = (await page.sent())[1:3]
    assert (fits[0], len(fits[2]["add"]), too_long) == ("", room, ("reload", "", {}))


@pytest.mark.parametrize("end", ["event", "stop", "time"])
async def test_the_next_look_is_after_an_event_that_concerns_the_page(end):
    page = Page(Snapshot(every=0.01 if end == "time" else 3600), Snapshot(over=True))
    said: list[Any] = []

    async def follow() -> None:
        said.extend([read(message) async for message in page.answer()._messages])

    following_ = asyncio.ensure_future(follow())
    await eventually(lambda: page.taken >= 1)
    if end == "event":
        for event in (0, 0):  # of others
            page.queue.put_nowait(event)
        await eventually(page.queue.empty)
        for _ in range(5):
            await asyncio.sleep(0)
        assert (page.taken, following_.done()) == (1, False)
        for event in (1, 0, 1):  # a bunch, which one look serves
            page.queue.put_nowait(event)
    elif end == "stop":
        page.streams.stop()
    async with asyncio.timeout(60):
        await following_
    assert page.taken == (1 if end == "stop" else 2)
    assert said[-1] == (NOW if end == "stop" else END)
    assert page.queue.empty()
    assert page.streams._count == {}


async def test_a_hundred_streams_of_a_user_are_served_and_one_more_is_refused():
    page = Page(*[Snapshot(more=True)] * 3)
    one, other = (page.answer()._messages for _ in range(2))
    for stream in (one, other):
        await anext(stream)
    assert page.streams._count == {"u": 2}
    await one.aclose()
    assert page.streams._count == {"u": 1}
    page.streams._count["u"] = 99
    assert page.answer().status_code == 200
    page.streams._count["u"] = 100
    refused = page.answer()
    assert (refused.status_code, refused.body) == (429, b"Too many live pages are open.")
    page.streams._count["u"] = 1
    await other.aclose()
    assert page.streams._count == {}


async def test_messages_go_out_one_by_one_until_the_browser_leaves():
    page, sent, left = Page(Snapshot({"a": "x"}, every=3600)), [], asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    answering = asyncio.ensure_future(page.answer()({}, receive, send))
    await eventually(lambda: len(sent) == 4)
    assert not answering.done()
    start, *bodies = sent
    named = dict(start["headers"])
    assert (start["status"], b"content-length" in named) == (200, False)
    assert (named[b"content-type"], named[b"cache-control"], named[b"x-accel-buffering"]) == (b"text/event-stream; charset=utf-8", b"no-store", b"no")  # fmt: skip
    assert all(body["more_body"] for body in bodies)
    left.set()
    async with asyncio.timeout(60):
        await answering
    assert (len(sent), page.streams._count) == (4, {})


async def test_a_stream_that_is_over_ends_its_answer_and_a_browser_that_does_not_read_is_dropped(monkeypatch):
    async def receive() -> dict[str, Any]:
        return await asyncio.Future()

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async with asyncio.timeout(60):
        before = asyncio.all_tasks()
        await Page(Snapshot(over=True)).answer()({}, receive, send)
        await eventually(lambda: asyncio.all_tasks() == before)  # nobody waits for the browser any more
        assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
        assert [message["more_body"] for message in sent[1:-1]] == [True] * 3

        async def stall(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Future()

        monkeypatch.setattr(live, "_STALLED_SECONDS", 0.01)
        page = Page(Snapshot(over=True))
        await page.answer()({}, receive, stall)
        assert page.streams._count == {}


# --- what a page is handed --------------------------------------------------------------------------------------------


def view(path: str = "/console/builds/x", query: str = "", **headers: str) -> View:
    class Console:
        app: Any = SimpleNamespace(public_url="https://p.example", clock=SimpleNamespace(now=lambda: 77))
        streams = None

        def region_of(self, _request: Request) -> str:
            return "eu-west-1"

    scope = {
        "type": "http", "method": "GET", "path": path, "query_string": query.encode(), "scheme": "https", "server": ("h", 443),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()], "client": ("192.0.2.1", 5),
    }  # fmt: skip
    visitor: Any = SimpleNamespace(account="1" * 12)
    return View(Console(), Request(scope), visitor, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("https://p.example/console/builds", "/console/builds"), ("https://p.example/consoles", "https://p.example/consoles"),
        ("https://q.example/console/", "https://q.example/console/"), ("http://x", "http://x"), ("javascript:alert(1)", ""), ("/console/", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_where_an_address_leads(address, link):
    assert view().link(address) == link


def test_what_a_page_reads_of_its_address():
    assert view().section == "builds"
    assert view("/console/builds").section == "builds"
    assert view(query="a=1&a=2").query == {"a": "2"}
    assert (view(query="from=t").listed_from(), view(query="from=").listed_from(), view().listed_from()) == ({"nextToken": "t"}, {}, {})  # fmt: skip
    assert (view().live_address, view(query="q=1").live_address) == ("/console/builds/x/live", "/console/builds/x/live?q=1")  # fmt: skip
    assert view(query="after=a").cursor == "a"
    assert view(query="after=a", last_event_id="b").cursor == "b"
    assert view().cursor == ""


def test_where_a_form_leads_back_to():
    for answer, address in (
        (view().back(), "/console/"), (view().back("builds", "a/b c:1@x"), "/console/builds/a%2Fb%20c:1@x"),
        (view().back("builds", query="page=2"), "/console/builds?page=2"),
    ):  # fmt: skip
        assert (answer.status_code, answer.headers["location"], answer.headers["cache-control"]) == (303, address, "no-store")  # fmt: skip
    assert part("a/b?#:@é") == "a%2Fb%3F%23:@%C3%A9"


def test_a_line_of_text_as_a_block():
    assert view().block("lede", "a < b") == '<p class="lede" id="lede">a &lt; b</p>'


def test_which_events_concern_a_page():
    def event(kind: str, account: str = "1" * 12, region: str = "eu-west-1") -> Any:
        return SimpleNamespace(type=kind, account=account, region=region, payload={"pipeline": "p"})

    of_account, of_p, of_q = view().of_account("codepipeline."), view().of_pipeline("p"), view().of_pipeline("q")
    for one, concerned in (
        (event("codepipeline.x"), (True, True, False)), (event("codebuild.x"), (False, False, False)),
        (event("codepipeline.x", account="2" * 12), (False, False, False)), (event("codepipeline.x", region="us-east-1"), (False, False, False)),
    ):  # fmt: skip
        assert (of_account(one), of_p(one), of_q(one)) == concerned


def test_the_query_of_the_next_page_and_facts_of_tags():
    assert following("") == following("", of="x") == ""
    assert following("t/1", of="x y", empty="") == "of=x+y&from=t%2F1"
    assert tag_facts({}) == []
    assert tag_facts({"Tags": [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": ""}]}) == [("Tag k", "v"), ("Tag l", "")]  # fmt: skip
