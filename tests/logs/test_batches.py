"""What a batch of events, a range of time and a token may be, at their exact bounds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from penstock.logs.errors import InvalidParameterException
from penstock.logs.group_keys import OpenedKeys
from penstock.logs.operations import events as module
from penstock.logs.operations.events import put_log_events

NOW = 1_800_000_000_000
DAY = 86_400_000
HOUR = 3_600_000


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a batch at NOW; what was kept of it, and what the answer says of the rest."""

    async def stream(*_: Any) -> Any:
        return SimpleNamespace(file="f" * 32, group="g", data_key=None, retention=None)

    monkeypatch.setattr(module, "existing_stream", stream)

    async def put(*batch: tuple[int, str], token: str = "") -> tuple[list[Any], Any]:
        kept: list[Any] = []

        async def append(_file: str, events: Any, now: int, given: str, seal: Any) -> None:
            assert (now, given, seal) == (NOW, token, None)
            kept.extend(events)

        answer = await put_log_events(
            SimpleNamespace(append=append, keys=OpenedKeys()),  # type: ignore[arg-type]
            SimpleNamespace(now=NOW),  # type: ignore[arg-type]
            {
                "logGroupName": "g",
                "logStreamName": "s",
                "logEvents": [{"timestamp": at, "message": text} for at, text in batch],
                **({"sequenceToken": token} if token else {}),
            },
        )
        return kept, answer.get("rejectedLogEventsInfo")

    return put


@pytest.mark.parametrize(
    ("offsets", "kept", "rejected"),
    [
        ([-14 * DAY], 1, None),
        ([-14 * DAY - 1], 0, {"tooOldLogEventEndIndex": 1}),
        ([-14 * DAY - 2, -14 * DAY - 1, -14 * DAY], 1, {"tooOldLogEventEndIndex": 2}),
        ([2 * HOUR], 1, None),
        ([2 * HOUR + 1], 0, {"tooNewLogEventStartIndex": 0}),
        ([0, 2 * HOUR, 2 * HOUR + 1, 2 * HOUR + 2], 2, {"tooNewLogEventStartIndex": 2}),
        ([0, 0], 2, None),
    ],
)
async def test_events_are_kept_from_fourteen_days_ago_to_two_hours_ahead(
    put: Any, offsets: list[int], kept: int, rejected: dict[str, int] | None
):
    batch = [(NOW + offset, str(number)) for number, offset in enumerate(offsets)]
    found, answered = await put(*batch, token="t")
    first = (rejected or {}).get("tooOldLogEventEndIndex", 0)
    assert (found, answered) == (batch[first : first + kept], rejected)


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u65e5", "\U0001f600"])
async def test_a_batch_is_measured_in_bytes_of_utf8(put: Any, letter: str):
    width = len(letter.encode())
    full = (1_048_576 - 2 * 26) // width
    short = "x" * (1_048_576 - 2 * 26 - full * width)
    assert len((await put((NOW, letter * full), (NOW, short)))[0]) == 2
    with pytest.raises(InvalidParameterException, match="^Upload too large: 1048577 bytes exceeds limit of 1048576$"):
        await put((NOW, letter * full), (NOW, short + "x"))
    with pytest.raises(InvalidParameterException, match="Upload too large: 1048602 bytes"):
        await put((NOW, letter * full), (NOW, short), (NOW, ""))


async def test_a_batch_is_in_order_and_spans_a_day(put: Any):
    assert len((await put((NOW - DAY, ""), (NOW, "")))[0]) == 2
    with pytest.raises(InvalidParameterException, match="cannot span more than 24 hours"):
        await put((NOW - DAY - 1, ""), (NOW, ""))
    with pytest.raises(InvalidParameterException, match="chronological order"):
        await put((NOW, ""), (NOW - 1, ""), (NOW, ""))


def test_a_range_may_be_of_one_moment_and_not_end_before_it_begins():
    assert module._range({}) == (0, None)
    assert module._range({"startTime": 5, "endTime": 5}) == (5, 5)
    assert module._range({"endTime": 0}) == (0, 0)
    with pytest.raises(InvalidParameterException, match="endTime must not be before startTime"):
        module._range({"startTime": 5, "endTime": 4})


def test_tokens_come_back_as_the_position_that_they_were_made_of():
    for direction in "fb":
        for position in [(-1, -1), (0, 0), (NOW, 123_456_789)]:
            token = module._token(direction, position)
            assert len(token) == 44
            assert module._opened(token, head=True) == module._opened(token, head=False) == (direction, position)
    assert module._opened(None, head=True) == module._opened("", head=True) == ("f", None)
    assert module._opened(None, head=False) == ("b", None)
    good = module._token("f", (1, 2))
    for bad in ("x", "g" + good[1:], good[:-2], good + "\n", " " + good):
        with pytest.raises(InvalidParameterException, match="The specified nextToken is invalid"):
            module._opened(bad, head=True)
