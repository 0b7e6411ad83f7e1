"""How often and for how long the agent asks again, what it remembers meanwhile, and what it leaves alone. The clock is the test's."""

from types import SimpleNamespace

import pytest

from penstock_agent import commands
from penstock_agent.commands import Backoff, Commands, Stopped
from penstock_agent.connection import Unreachable
from penstock_agent.failures import CommandFailure
from penstock_agent.service import Refused

DENIED = Refused("AccessDeniedException", "no", 400)
BROKEN = Refused("HTTP503", "", 503)
FOR_GOOD = Refused("ValidationException", "what", 400)


class Stage:
    """Commands whose service gives its answers in turn, the last one for ever, and whose waits move the clock."""

    def __init__(self, monkeypatch, tmp_path):
        self.now, self.waited, self.asked, self.answers, self.stops = 1000.0, [], [], [], None
        monkeypatch.setattr(commands.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(commands.os, "urandom", lambda count: b"\x80\0"[:count])  # no jitter
        monkeypatch.setattr(commands, "open_specification", lambda answer, _pinned: answer)
        service = SimpleNamespace(call=self.call, specification=self.specification, now_ms=lambda: int(self.now * 1000))
        self.commands = Commands(service, None, None, (), SimpleNamespace(wait=self.wait), None)

    def wait(self, seconds):
        self.waited.append(seconds)
        self.now += seconds
        return self.stops is not None and len(self.waited) >= self.stops

    def call(self, operation, body):
        return self.specification((operation, body))

    def specification(self, asked):
        self.asked.append(asked)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def stage(monkeypatch, tmp_path):
    return Stage(monkeypatch, tmp_path)


def test_waits_double_to_half_a_minute(monkeypatch):
    monkeypatch.setattr(commands.os, "urandom", lambda count: b"\x80\0"[:count])
    backoff = Backoff()
    assert [round(backoff.next(), 1) for _ in range(11)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    backoff.reset()
    assert backoff.next() == 0.1
    short = Backoff(0.3)
    assert [round(short.next(), 2) for _ in range(4)] == [0.1, 0.2, 0.3, 0.3]
    for least, most in ((b"\0\0", 0.05), (b"\xff\xff", 0.15)):
        monkeypatch.setattr(commands.os, "urandom", lambda _count, least=least: least)
        assert Backoff().next() == pytest.approx(most, abs=0.00001)


@pytest.mark.parametrize(
    ("answers", "took"),
    [([{"a": 1}], []), ([Unreachable("x"), BROKEN, DENIED, {"a": 1}], [0.1, 0.2, 0.4])],
)
def test_a_specification_is_asked_for_until_it_comes(stage, answers, took):
    stage.answers = answers
    assert stage.commands._specification("e") == {"a": 1}
    assert stage.waited == pytest.approx(took)


def test_who_is_denied_has_a_minute_to_be_let_in_and_a_server_that_fails_has_all_time(stage):
    assert commands.DENIALS_S == 60.0
    stage.answers = [DENIED]
    with pytest.raises(CommandFailure, match="^The deployment specification was refused: AccessDeniedException: no$"):
        stage.commands._specification("e")
    assert sum(stage.waited[:-1]) < 60 <= sum(stage.waited)
    for last, stops in ((BROKEN, 20), (Unreachable("x"), 20)):
        stage.waited, stage.answers, stage.stops = [], [last], stops
        with pytest.raises(Stopped):
            stage.commands._specification("e")
        assert len(stage.waited) == 20
    stage.waited, stage.answers = [], [FOR_GOOD]
    with pytest.raises(CommandFailure):
        stage.commands._specification("e")
    assert stage.waited == []


def issued(expires_ms):
    return SimpleNamespace(issued_for=SimpleNamespace(expires_ms=expires_ms))


def test_the_last_sixteen_specifications_are_remembered(stage):
    for number in range(17):
        stage.answers = [issued(2_000_000)]
        stage.commands._specification(str(number))
    asked = len(stage.asked)
    for number in range(1, 17):
        stage.commands._specification(str(number))
    assert len(stage.asked) == asked == 17
    stage.commands._specification("0")
    assert len(stage.asked) == 18
    stage.commands._specification("1")  # which the last one pushed out
    assert len(stage.asked) == 19


@pytest.mark.parametrize(("expires_ms", "again"), [(1_000_000, True), (1_000_001, False), (None, False)])
def test_a_specification_that_has_expired_is_asked_for_anew(stage, expires_ms, again):
    stage.answers = [SimpleNamespace(issued_for=None) if expires_ms is None else issued(expires_ms)]
    stage.commands._specification("e")
    stage.commands._specification("e")
    assert len(stage.asked) == (2 if again else 1)


@pytest.mark.parametrize(
    ("answers", "found", "repeated"),
    [
        ([{"a": 1}], {"a": 1}, False),
        ([DENIED, {"a": 1}], {"a": 1}, False),
        ([BROKEN, {"a": 1}], {"a": 1}, True),
        ([Unreachable("x"), DENIED, {"a": 1}], {"a": 1}, True),
        ([FOR_GOOD], None, False),
        ([BROKEN, FOR_GOOD], None, True),
    ],
)
def test_whether_an_earlier_try_may_have_been_taken(stage, answers, found, repeated):
    stage.answers = answers
    assert stage.commands._until_answered("Op", {}) == (found, repeated)


def test_a_key_that_is_turned_away_may_be_mended_for_an_hour(stage):
    assert commands.REFUSALS_S == 3600.0
    stage.answers = [DENIED]
    assert stage.commands._until_answered("Op", {}) == (None, False)
    assert sum(stage.waited[:-1]) <= 3600 < sum(stage.waited)
    stage.waited, stage.stops, stage.answers = [], 200, [BROKEN]
    with pytest.raises(Stopped):
        stage.commands._until_answered("Op", {})


@pytest.mark.parametrize(
    ("answer", "quiet"), [(FOR_GOOD, True), (DENIED, False), (BROKEN, False), (Unreachable("x"), False), ({}, False)]
)
def test_a_service_that_wants_no_updates_is_left_alone_for_ten_minutes(stage, answer, quiet):
    stage.answers = [answer]
    for moment, asked in ((0.0, 1), (599.9, 1 if quiet else 2), (600.0, 2 if quiet else 3)):
        stage.now = 1000.0 + moment
        stage.commands.update("c", {"log": "x"})
        assert len(stage.asked) == asked
    operation, body = stage.asked[0]
    assert (operation, body["HostCommandIdentifier"]) == ("PostHostCommandUpdate", "c")
    assert body["Diagnostics"]["Payload"] == '{"log":"x"}'
