"""Bodies as they arrive, at the last byte and second that is taken: their share of the memory, who waits for them, and what an early answer leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from penstock.wire import arriving, budget
from penstock.wire.arriving import Arriving
from penstock.wire.budget import BodyBudget, Share
from penstock.wire.errors import (
    BodyTooLarge,
    MalformedBody,
    Throttled,
)
from penstock.wire.message import RequestHead, Response


def body_of(*pieces: bytes, ends: bool = True, bodies=None, arrived: bool = False, **headers: str) -> Arriving:
    messages: Iterator[dict] = iter(
        [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces[:-1]]
        + [
            {"type": "http.request", "body": pieces[-1], "more_body": False}
            if ends
            else {"type": "http.disconnect"}
        ]
    )  # fmt: skip

    async def receive():
        return next(messages)

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Arriving(RequestHead("POST", "/", "", named), receive, bodies or BodyBudget(), arrived=arrived)


class Bodies(BodyBudget):
    """Writes down what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int]] = []

    def take(self, share: Share, size: int) -> None:
        self.asked.append(("take", size))
        super().take(share, size)

    def arrived(self, share: Share) -> None:
        self.asked.append(("arrived", share.size))
        super().arrived(share)


@pytest.mark.parametrize(
    ("pieces", "length", "arrived", "asked"),
    [
        ([b"x" * 65_536], "65536", True, []),  # here already, and small: it is no share of anything
        ([b"x" * 65_537], "65537", True, [("take", 65_537), ("arrived", 65_537)]),
        ([b"x" * 65_536], "65536", False, [("arrived", 0)]),  # a small one is never refused for what others send
        ([b"x"], "", True, [("arrived", 0)]),
        ([b"x"], "\u00b2", True, [("arrived", 0)]),
        ([b"x" * 65_536, b"y"], "65537", False, [("take", 65_537), ("arrived", 65_537)]),
    ],
)
async def test_large_bodies_only_have_a_share_of_the_memory(pieces, length, arrived, asked):
    bodies = Bodies()
    body = body_of(*pieces, bodies=bodies, arrived=arrived, content_length=length)
    assert await body.read(1 << 20, "k") == b"".join(pieces)
    assert bodies.asked == asked
    body.let_go()
    assert bodies._held == 0


async def test_a_body_is_read_to_its_limit():
    assert await body_of(b"abc", b"", b"de").read(5, "") == b"abcde"
    with pytest.raises(BodyTooLarge):
        await body_of(b"abc", b"def").read(5, "")
    with pytest.raises(MalformedBody, match=r"^The connection ended before the body did\.$"):
        await body_of(b"abc", b"", ends=False).read(5, "")


@pytest.mark.parametrize(("announced", "refused"), [("5", False), ("6", True), ("", False), ("x9", False), ("-6", False), ("9\u00b2", False)])  # fmt: skip
def test_what_is_announced_is_refused_before_it_comes(announced, refused):
    body = body_of(b"", content_length=announced)
    if refused:
        with pytest.raises(BodyTooLarge):
            body.refuse_more_than(5)
    else:
        body.refuse_more_than(5)


async def test_a_body_that_trickles_is_waited_for_two_minutes(monkeypatch):
    waits, timeout = [], asyncio.timeout

    def at_once(seconds):
        waits.append(seconds)
        return timeout(0)

    async def never():
        await asyncio.Event().wait()

    monkeypatch.setattr(arriving.asyncio, "timeout", at_once)
    body = Arriving(RequestHead("POST", "/"), never, BodyBudget(), arrived=False)
    with pytest.raises(MalformedBody, match=r"did not arrive in time: within 120 s, or sooner"):
        await body.read(5, "")
    assert waits == [120]


@pytest.mark.parametrize(
    ("headers", "read", "kept"),
    [
        ({"content_length": "1048576"}, True, True),
        ({"content_length": "1048577"}, False, False),
        ({"content_length": "5", "expect": "100-continue"}, False, False),
        ({"content_length": "x"}, False, False),
        ({"content_length": "0"}, False, True),
        ({}, False, True),
        ({"transfer_encoding": "chunked"}, False, False),
    ],
)
async def test_what_an_early_answer_leaves_is_read_or_the_connection_closed(headers, read, kept):
    taken = []

    async def receive():
        taken.append(1)
        return {"type": "http.request", "body": b"x", "more_body": len(taken) < 3}

    head = RequestHead("POST", "/", "", {name.replace("_", "-"): value for name, value in headers.items()})
    answer = await Arriving(head, receive, BodyBudget(), arrived=False).leave_clean(Response(400, [(b"a", b"b")], b""))
    assert answer.headers == [(b"a", b"b")] + ([] if kept else [(b"connection", b"close")])
    assert len(taken) == (3 if read else 0)


async def test_nobody_waits_for_the_rest_of_who_has_left():
    body = body_of(b"x", b"", ends=False, content_length="9")
    assert (await body.leave_clean(Response(400, [], b""))).headers == []


async def test_how_much_of_bodies_is_in_memory():
    """64 MiB at a time, 24 of them for one key."""
    shares = BodyBudget()
    a, b, c = (Share(key, asyncio.timeout(None)) for key in "abc")
    shares.take(a, 24 << 20)
    with pytest.raises(
        Throttled, match=r"^Too many large requests are being read\. Please reduce your request rate\.$"
    ):
        shares.take(a, (24 << 20) + 1)
    shares.take(b, 24 << 20)
    shares.take(c, 16 << 20)
    with pytest.raises(Throttled):
        shares.take(c, (16 << 20) + 1)
    for share in (a, b, c, c):
        shares.give_back(share)
    assert (shares._held, shares._by_key, shares._shares) == (0, {}, {})


@pytest.mark.parametrize(("age", "gives_way"), [(2.0, False), (2.001, True)])
@pytest.mark.parametrize("same_key", [True, False])
async def test_two_seconds_are_not_taken_from_who_has_them(monkeypatch, age, gives_way, same_key):
    now = 1000.0
    monkeypatch.setattr(budget, "asyncio", SimpleNamespace(get_running_loop=lambda: SimpleNamespace(time=lambda: now)))
    ended: list[float] = []
    reading = SimpleNamespace(reschedule=ended.append)
    # Of another key it gives way when there is no room at all; of the same key already when that key has no more.
    shares = BodyBudget(total=15 if not same_key else 100, each=15)
    old, other = Share("a", reading), Share("b", reading)  # type: ignore[arg-type]
    shares.take(other, 5 if same_key else 0)
    shares.take(old, 10)
    now += age
    new = Share("a" if same_key else "c", reading)  # type: ignore[arg-type]
    if gives_way:
        shares.take(new, 6)
        assert ended == ([now] if same_key else [now, now])
        assert old.reading is None
    else:
        with pytest.raises(Throttled):
            shares.take(new, 6)
        assert ended == []
