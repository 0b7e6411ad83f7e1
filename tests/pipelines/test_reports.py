"""What comes of actions, beside the database: which reports make which actions be looked at, and what is made of what providers say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from penstock.pipelines import event_details, preparation, retention, work
from penstock.pipelines.actions.provider import Failed, Running, Succeeded, Waiting
from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.effects import ActionStarted, EventState, StageChanged
from penstock.pipelines.inputs import ActionAccepted, ActionFailed, ActionReported, ActionSucceeded, ActionTimedOut
from penstock.pipelines.links import Links
from penstock.pipelines.model import NO_DETAILS, ActionType, ActionTypeId, Details, ExecutionMode, Key
from penstock.pipelines.working_copy import WorkingCopy
from penstock.store.work import Retry
from penstock.wire.errors import AccessDenied, Throttled, Unavailable, error_class

ROW: Any = SimpleNamespace(
    id="a", execution_id="e", pipeline="demo", pipeline_id="p", action="roll", account="1", region="r", resolved=None,
    external_id="x", external_url=None, summary=None, log_stream=None, percent=5,
)  # fmt: skip


def prepared(provider: Any = None, **row: Any) -> Any:
    return SimpleNamespace(
        key=Key(account="1", region="r", name="demo", id="p"),
        row=SimpleNamespace(**vars(ROW) | row, provider=provider),
        declared={"configuration": {}},
        role="arn:role",
        scope={},
        inputs=(),
    )


class Service:
    """Pipelines whose applied inputs and jobs are noted in `done`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[Any] = []
        self.answers: list[Any] = []
        self.actions: dict[str, Any] = {}
        self.app = SimpleNamespace(
            clock=SimpleNamespace(now=lambda: 1000), ids=SimpleNamespace(seed=lambda: 7),
            store=SimpleNamespace(read=self.read, write_together=self.write),
            settings=SimpleNamespace(all_regions=lambda: ("r",)),
        )  # fmt: skip
        self.versions = "versions"
        monkeypatch.setattr(work, "apply", self.apply)
        monkeypatch.setattr(work.jobs, "complete", lambda _conn, job: self.done.append(("complete", job.id)))
        monkeypatch.setattr(work.jobs, "enqueue", self.enqueue)
        monkeypatch.setattr(work, "_observe", self.observe)
        monkeypatch.setattr(work, "_found", self.found)

    async def read(self, fn: Any, *arguments: Any, **more: Any) -> Any:
        if fn is work._running:
            return list(self.actions)
        self.done.append(("prepare", arguments[1], more))
        return self.actions.get(arguments[1])

    async def write(self, lock: str, fn: Any, *arguments: Any, **more: Any) -> None:
        assert lock == Key(account="1", region="r", name="demo", id="p").lock
        fn("conn", *arguments, **more)

    def apply(self, _conn: str, versions: str, key: Key, input: Any, *, now: int, seed: int, cause: str) -> None:
        assert (versions, key.id, now, seed) == ("versions", "p", 1000, 7)
        self.done.append((input, cause))

    def enqueue(self, _conn: str, **job: Any) -> None:
        self.done.append(job)

    async def found(self, _service: Any, prepared: Any) -> Any:
        return prepared.row.provider, ActionType(
            id=ActionTypeId(category="Build", owner="AWS", provider="P", version="1"),
            properties=(),
            inputs=(0, 0),
            outputs=(0, 0),
        )

    async def observe(self, _service: Any, prepared: Any) -> Any:
        self.done.append(("observe", prepared.row.id))
        return self.answers.pop(0)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Any:
    return Service(monkeypatch)


JOB: Any = SimpleNamespace(
    id="j", account="1", region="r", payload={"action": "a", "execution": "e", "pipeline": "demo", "id": "p"}
)
RAN = Running(external_id="x", check_after=5000, percent=50)
DONE = Succeeded(summary="fine")


async def test_a_report_makes_every_action_be_looked_at_that_waits_for_it(service):
    """Of the provider whose report it is; one that another provider runs, or that is over, keeps none of the rest from it."""
    builds = SimpleNamespace(reports={"build.ended": lambda payload: payload["id"]})
    deploys = SimpleNamespace(reports={"deployed": lambda payload: payload["id"]})
    service.providers = SimpleNamespace(all=lambda: [deploys, builds])
    service.actions = {
        "over": None,
        "other": prepared(deploys, id="other"),
        "runs": prepared(builds, id="runs"),
        "ends": prepared(builds, id="ends"),
    }
    service.answers = [RAN, DONE]
    event: Any = SimpleNamespace(type="build.ended", account="1", region="r", payload={"id": "x"}, id="event")
    await work.on_report(service, event)
    assert [step for step in service.done if step[0] == "observe"] == [("observe", "runs"), ("observe", "ends")]
    [(progress, first), (ended, second)] = [step for step in service.done if step[0] not in ("observe", "prepare")]
    assert (type(progress), progress.action, first) == (ActionReported, "runs", "event")
    assert (type(ended), ended.action, second) == (ActionSucceeded, "ends", "event")


@pytest.mark.parametrize(("percent", "written"), [(5, False), (6, True)])
async def test_progress_is_written_when_there_is_any(service, percent, written):
    service.actions = {"a": prepared()}
    service.answers = [Running(external_id="x", check_after=5000, percent=percent)]
    with pytest.raises(Retry) as again:
        await work.observe(service, JOB)
    assert vars(again.value) == vars(Retry(5000, counts=False))
    reported = [step for step in service.done if isinstance(step[0], ActionReported)]
    details = Details(external_id="x", percent=percent)
    assert reported == ([(ActionReported(execution="e", action="a", details=details), "j")] if written else [])


async def test_what_is_over_is_not_looked_at(service):
    await work.observe(service, JOB)
    await work.stop(service, JOB)
    assert service.done == [("prepare", "a", {"ended": False}), ("prepare", "a", {"ended": True})]


@pytest.mark.parametrize(
    ("outcome", "input"),
    [
        (DONE, ActionSucceeded(execution="e", action="a", details=Details(summary="fine"))),
        (Failed(code="JobFailed", message="no"), ActionFailed(execution="e", action="a", code="JobFailed", message="no", details=NO_DETAILS)),
    ],
)  # fmt: skip
async def test_an_end_is_written_with_the_end_of_its_job(service, outcome, input):
    service.actions = {"a": prepared()}
    service.answers = [outcome]
    await work.observe(service, JOB)
    assert service.done[2:] == [("complete", "j"), (input, "j")]


@pytest.mark.parametrize(("after", "due"), [(5000, 2000), (999, 1999), (1000, 2000), (1001, 2000)])
async def test_an_action_that_was_started_is_looked_at_soon(service, after, due):
    outcome = Running(external_id="x", check_after=after)
    await work._report(service, prepared(), outcome, NO_DETAILS, JOB)
    assert service.done == [
        ("complete", "j"),
        (ActionAccepted(execution="e", action="a", details=Details(external_id="x")), "j"),
        {
            "kind": work.OBSERVE_JOB, "payload": {"pipeline": "demo", "id": "p", "execution": "e", "action": "a"}, "account": "1",
            "region": "r", "due": due, "dedup": "a",
        },
    ]  # fmt: skip


async def test_an_action_that_waits_is_shown_with_what_it_asks_for(service):
    details = Details(resolved={"a": "b"})
    await work._report(service, prepared(), Waiting(), details, JOB)
    assert service.done[1:] == [(ActionReported(execution="e", action="a", details=details), "j")]


async def test_time_that_is_out_is_written_with_the_end_of_its_job(service):
    await work.time_out(service, JOB)
    assert service.done == [("complete", "j"), (ActionTimedOut(execution="e", action="a"), "j")]


async def test_a_start_that_went_wrong_too_often_fails_its_action(service):
    await work.start_failed(service, JOB, "why")
    service.actions = {"a": prepared()}
    await work.start_failed(service, JOB, "why")
    failed = ActionFailed(
        execution="e", action="a", code="SystemUnavailable", message="The action could not be started. Retry the stage.", details=NO_DETAILS,
    )  # fmt: skip
    assert service.done[2:] == [("complete", "j"), (failed, "j")]


@pytest.mark.parametrize(("more", "code"), [(0, ""), (1, "JobFailed")])
async def test_variables_have_a_limit_in_bytes(service, more, code):
    variables = {"é": "x" * (122_880 - 2 + more)}
    await work._report(
        service, prepared(), Succeeded(variables=variables, external_id="x", url="u"), NO_DETAILS, None, cause="c"
    )
    [(input, cause)] = service.done
    assert cause == "c"
    if code:
        assert (input.code, input.message) == (code, "The output variables of the action are larger than 122880 bytes.")
        assert (input.details.external_id, input.details.external_url) == ("x", "u")
    else:
        assert input.details.variables == variables


@pytest.mark.parametrize(("more", "fails"), [(0, False), (1, True)])
async def test_a_configuration_has_a_limit_after_its_variables(service, monkeypatch, more, fails):
    started: list[Any] = []

    async def start(action: Any) -> Any:
        started.append(action)
        return DONE

    one = prepared(SimpleNamespace(acts=lambda _resolved: False, start=start))
    one.declared = {"configuration": {"k": "#{n.v}"}}
    one.scope = {"n": {"v": "x" * (102_400 - 1 + more)}}
    monkeypatch.setattr(work, "action_of", lambda _prepared, resolved, **_: resolved)
    outcome, details = await work._start(service, one, await service.found(service, one))
    if fails:
        said = "The configuration of the action is larger than 102400 bytes after its variables are resolved."
        assert (outcome, details, started) == (
            Failed(code="ConfigurationError", message=said),
            Details(inputs=None),
            [],
        )
    else:
        assert (outcome, started) == (DONE, [details.resolved])


async def test_an_action_without_its_inputs_or_variables_does_not_start(service):
    one = prepared(SimpleNamespace())
    one.declared = {"configuration": {"k": "#{n.v}"}}
    outcome, _ = await work._start(service, one, await service.found(service, one))
    assert (outcome.code, outcome.message.partition(". ")[0]) == (
        "ConfigurationError",
        "An action in this pipeline failed because one or more variables could not be resolved: Action name=[roll]",
    )
    one.declared = {"inputArtifacts": [{"name": "App"}]}
    outcome, details = await work._start(service, one, await service.found(service, one))
    assert outcome == Failed(code="JobFailed", message="An input artifact of the action was not made.")
    assert details.resolved == {}


NOT_FOUND = error_class("NotFoundException")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NOT_FOUND("none"), Failed(code="JobFailed", message="none (Error Code: NotFoundException)")),
        (AccessDenied("no"), Failed(code="PermissionError", message="no")),
        (error_class("ThrottlingException")("slow"), None),
        (error_class("Throttling")("slow"), None),
        (Throttled(), None),
        (Unavailable(), None),
    ],
)
def test_what_a_provider_did_not_word_itself(error, outcome):
    """What may be otherwise at the next try is raised."""
    if outcome is None:
        with pytest.raises(type(error)):
            work._failure(error)
    else:
        assert work._failure(error) == outcome


# --- what earlier actions made ----------------------------------------------------------------------------------------


def test_later_attempts_win_and_actions_without_a_namespace_tell_nothing():
    rows = [
        SimpleNamespace(stage="S", action="one", outputs=[{"name": "A", "key": "1"}, {"name": "B", "key": "1"}], variables={"v": "1"}),
        SimpleNamespace(stage="S", action="none", outputs=None, variables={"w": "1"}),
        SimpleNamespace(stage="S", action="one", outputs=[{"name": "A", "key": "2"}], variables=None),
        SimpleNamespace(stage="S", action="two", outputs=(), variables={"x": "3"}),
    ]  # fmt: skip
    actions = [{"name": "one", "namespace": "n"}, {"name": "none"}, {"name": "two", "namespace": "m"}]
    declaration = {"stages": [{"name": "S", "actions": actions}]}
    artifacts, scope = preparation._collected(rows, declaration)
    assert {name: one["key"] for name, one in artifacts.items()} == {"A": "2", "B": "1"}
    assert scope == {"n": {}, "m": {"x": "3"}}
    assert "ORDER BY pipeline_action_executions.ordinal" in str(preparation._MADE._statement)


# --- what is written of an action that starts -------------------------------------------------------------------------


def test_actions_are_numbered_in_the_order_of_their_starts(monkeypatch):
    written: list[Any] = []
    made: Any = object.__new__(PipelineAggregate)
    made.state = SimpleNamespace(executions={"e": SimpleNamespace(version=1, attempt=2, mode=ExecutionMode.PARALLEL)})
    made.sequence, made._started, made._latest, made.now = 3, 0, {}, 5
    made.account, made.region, made.conn = "1", "r", None
    made.key = Key(account="1", region="r", name="demo", id="p")
    kind = ActionTypeId(category="Build", owner="AWS", provider="P", version="1")
    monkeypatch.setattr(made, "_plan_of", lambda *_: SimpleNamespace(type=kind, region=""))
    monkeypatch.setattr(made, "_job", lambda *_, **__: None)
    monkeypatch.setattr(made, "_emit", lambda *_: None)
    monkeypatch.setattr(
        "penstock.pipelines.records.INSERT_ACTION", SimpleNamespace(later=lambda _conn, row: written.append(row))
    )
    monkeypatch.setattr("penstock.pipelines.records.new_action", lambda row: row)
    monkeypatch.setattr(event_details, "action_detail", lambda *_, **__: {})
    for name in ("a", "b"):
        made._start_action(ActionStarted(execution="e", stage="S", action=f"id-{name}", name=name, token=""))
    assert [(row["ordinal"], row["provider"], row["attempt"], row["token"], row["external_id"]) for row in written] == [
        (30_001, "Build/AWS/P/1", 2, None, None), (30_002, "Build/AWS/P/1", 2, None, None),
    ]  # fmt: skip
    assert made._latest == {}  # of an execution that is PARALLEL nothing is shown


@pytest.mark.parametrize(
    ("retried", "stage", "shown"), [(5, "S", "1970-01-01T00:00:00.005Z"), (5, "T", None), (None, "S", None)]
)
def test_the_last_retry_is_told_of_its_own_stage(retried, stage, shown):
    execution: Any = SimpleNamespace(id="e", version=1, attempt=1, retried=retried, stage=stage)
    effect = StageChanged(execution="e", stage="S", state=EventState.STARTED, entered=3)
    detail = event_details.stage_detail("demo", execution, effect)
    assert detail.get("stage-last-retry-attempt-time") == shown
    assert (detail["stage"], detail["start-time"], detail["state"]) == ("S", "1970-01-01T00:00:00.003Z", "STARTED")


# --- retention --------------------------------------------------------------------------------------------------------


async def test_what_is_over_is_swept_in_batches_and_again_in_six_hours(monkeypatch):
    written: list[Any] = []
    batches = [500, 500, 499]

    async def write(fn: Any, *arguments: Any) -> Any:
        written.append((fn, arguments))
        return batches.pop(0) if fn is retention.sweep else None

    settings = SimpleNamespace(account="1", region="r", keep_history_ms=9)
    app: Any = SimpleNamespace(
        store=SimpleNamespace(write=write), settings=settings, clock=SimpleNamespace(now=lambda: 77)
    )
    await retention.begin(app)
    assert written == [(retention._enqueue, ("1", "r"))]
    written.clear()
    with pytest.raises(Retry) as again:
        await retention.sweep_all(SimpleNamespace(app=app), JOB)  # type: ignore[arg-type]
    assert vars(again.value) == vars(Retry(21_600_000, counts=False))
    assert written == [(retention.sweep, (77, 9))] * 3


@pytest.mark.parametrize(
    ("address", "given"),
    [
        ("/a", "https://p/a"), ("//elsewhere/a", None), ("http://x", "http://x"), ("ftp://x", None), ("javascript:x", None), ("", None),
        ("https://x/#{variables.A}", None), ("https://" + "x" * 2040, "https://" + "x" * 2040), ("https://" + "x" * 2041, None),
    ],
)  # fmt: skip
def test_which_addresses_clients_are_given(address, given):
    app: Any = SimpleNamespace(public_url="https://p")
    assert Links(app).absolute(address) == given
    app.public_url = ""
    assert Links(app).absolute("/a") is None


def test_executions_are_worked_on_oldest_first():
    executions = {str(number): SimpleNamespace(id=str(number), number=number) for number in (3, 1, 2)}
    pipeline: Any = SimpleNamespace(plan=None, plans={}, next_number=4, executions=executions, slots={})
    working = WorkingCopy(pipeline, 0, 0)
    working.put(SimpleNamespace(id="0", number=0))  # type: ignore[arg-type]
    assert [execution.number for execution in working.executions()] == [0, 1, 2, 3]
    assert list(executions) == ["3", "1", "2"]
