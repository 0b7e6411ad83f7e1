"""Requests of a fleet take turns with everybody else."""

import asyncio

import pytest

from penstock.wire.endpoint import Endpoint
from penstock.wire.requestlog import RequestLog
from penstock.wire.turns import Turns


async def test_a_thousand_hosts_leave_every_turn_of_the_loop_to_others():
    """Each turn lets a few begin, in the order in which they came, and everybody else is served between two turns."""
    turns, order = Turns(each=10), []

    async def host(number):
        await turns.take()
        order.append(number)

    hosts = [asyncio.create_task(host(number)) for number in range(1000)]
    in_between = []
    while len(order) < 1000:
        await asyncio.sleep(0)
        in_between.append(len(order))
    assert order == list(range(1000))
    assert max(after - before for before, after in zip([0, *in_between], in_between, strict=False)) <= 10
    await asyncio.gather(*hosts)


async def test_a_host_that_has_left_takes_nobody_elses_turn():
    turns, served = Turns(each=1), []

    async def host(number):
        await turns.take()
        served.append(number)

    hosts = [asyncio.create_task(host(number)) for number in range(4)]
    await asyncio.sleep(0)
    hosts[1].cancel()
    hosts[2].cancel()
    await asyncio.gather(*hosts, return_exceptions=True)
    assert served == [0, 3]


async def test_a_single_host_never_waits():
    turns = Turns(each=1)
    for _ in range(3):
        taking = turns.take()
        try:
            taking.send(None)  # runs until it waits for something
        except StopIteration:
            pass
        else:
            raise AssertionError("it waited")
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def test_what_agents_call_takes_turns_and_what_people_call_does_not(live):
    taking = Endpoint(live.app).taking_turns
    for name in (
        "PollHostCommand",
        "GetDeploymentSpecification",
        "PutHostCommandAcknowledgement",
        "PutHostCommandComplete",
    ):
        assert f"CodeDeployCommandService_v20141006.{name}" in taking
    assert "CodeDeploy_20141006.GetDeployment" not in taking


@pytest.mark.parametrize(
    ("operation", "turns"), [("CommandService_v20141006.PollHostCommand", 1), ("_20141006.GetDeployment", 0)]
)
async def test_a_request_takes_its_turn_before_anything_is_read_for_it(live, tmp_path, monkeypatch, operation, turns):
    # The server's is of another loop.
    monkeypatch.setattr(live.app, "requests", RequestLog(tmp_path / "requests.jsonl"))
    endpoint, taken, sent = Endpoint(live.app), [], []

    async def take():
        taken.append(len(sent))

    async def send(message):
        sent.append(message)

    endpoint.turns.take = take
    headers = [(b"x-amz-target", f"CodeDeploy{operation}".encode()), (b"content-length", b"0")]
    await endpoint({"type": "http", "method": "POST", "path": "/", "headers": headers}, None, send)
    assert taken == [0] * turns
    assert sent[0]["status"] == 400  # neither is signed
