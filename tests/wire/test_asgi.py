"""One plain-text answer and one wait for a client to leave, for every ASGI application of the server."""

import asyncio
from pathlib import Path

import penstock
from penstock.wire.asgi import client_left, send_text


async def test_a_text_is_answered_with_its_length():
    sent = []

    async def send(message):
        sent.append(message)

    await send_text(send, 404, "é\n", (b"cache-control", b"no-store"))
    start, body = sent
    assert (start["status"], body["body"]) == (404, "é\n".encode())
    assert start["headers"] == [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"3"),
        (b"cache-control", b"no-store"),
    ]


async def test_a_client_has_left_when_it_says_so_and_not_before():
    messages = asyncio.Queue()
    waiting = asyncio.ensure_future(client_left(messages.get))
    for _ in range(3):
        messages.put_nowait({"type": "http.request", "body": b"x", "more_body": True})
    while not messages.empty():
        await asyncio.sleep(0)
    assert not waiting.done()
    messages.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(waiting, 60)


def test_nobody_writes_them_again():
    source = Path(penstock.__file__).parent
    for module in source.rglob("*.py"):
        text = module.read_text()
        if module != source / "wire" / "asgi.py":
            assert '"http.disconnect"' not in text, module
            assert 'b"text/plain; charset=utf-8"' not in text, module
