"""What /metrics says of how late the event loop is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from penstock.fleet import lag


def seen() -> float:
    return lag.LAG._sum.get()


async def test_how_late_the_loop_is_comes_from_the_clock(monkeypatch: pytest.MonkeyPatch):
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    times = iter([100.0, 100.3, 200.0, 200.04])
    monkeypatch.setattr(lag, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(lag, "time", SimpleNamespace(monotonic=lambda: next(times)))
    asking = lag.Lag(SimpleNamespace())  # type: ignore[arg-type]
    before = seen()
    await asking._turn()
    assert seen() - before == pytest.approx(0.25)
    assert lag.WORST._value.get() == pytest.approx(0.25)
    await asking._turn()  # a timer that is early is not late
    assert seen() - before == pytest.approx(0.25)
    assert slept == [0.05, 0.05]


@pytest.mark.parametrize("begins", [0.0, 1000.0])
def test_the_worst_is_that_of_the_last_minute(begins: float):
    asking = lag.Lag(SimpleNamespace())  # type: ignore[arg-type]
    said = []
    for second, late in [(0, 0.2), (29, 0.1), (30, 0.05), (45, 0.3), (60, 0.01), (89, 0.01), (90, 0.02), (120, 0.0)]:
        asking.note(begins + second, late)
        said.append(lag.WORST._value.get())
    assert said == [0.2, 0.2, 0.2, 0.3, 0.3, 0.3, 0.02, 0.02]


async def test_nothing_is_asked_after_the_end():
    begun, ended = object(), []

    async def stop(loop):
        ended.append(loop)

    loops = SimpleNamespace(start=lambda *_: begun, stop=stop)
    asking = lag.Lag(SimpleNamespace(store=SimpleNamespace(loops=loops)))  # type: ignore[arg-type]
    await asking.start()
    await asking.stop()
    assert ended == [begun]
