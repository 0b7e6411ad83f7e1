"""What starts a pipeline by itself."""

from dataclasses import replace

from pipeline_harness import ADMIN, BUILD, REGION, action, stage

from penstock.pipelines.actions import built_in
from penstock.pipelines.changes import start_watchers
from penstock.pipelines.triggers import Watcher, wanted, watched
from penstock.store.events import Event, emit


def source(*actions):
    return {"stages": [stage("Source", *actions), BUILD]}


def repository(name="pull", **more):
    return action(name, "Source", "CodeCommit", configuration={"RepositoryName": "app", "BranchName": "main", **more})


def pushed(**more):
    return {
        "repositoryName": "app",
        "referenceType": "branch",
        "referenceName": "main",
        "event": "referenceUpdated",
        **more,
    }


def test_what_is_watched():
    bucket = action("get", "Source", "S3", configuration={"S3Bucket": "in", "S3ObjectKey": "a/b.zip"})
    watches = watched(source(repository(), repository("quiet", PollForSourceChanges="false"), bucket), built_in())
    assert [(w.action, w.subject) for w in watches] == [("pull", "codecommit:app:main"), ("get", "s3:in/a/b.zip")]
    assert watched(source(repository(PollForSourceChanges="true")), built_in())


async def test_what_can_never_be_there_is_not_watched(any_harness):
    key = "k" * 1_300
    far = action(
        "get", "Source", "S3", outputArtifacts=[{"name": "App"}], configuration={"S3Bucket": "b", "S3ObjectKey": key}
    )
    await any_harness.create(stage("Source", far), BUILD)
    got = await any_harness("GetPipeline", name="demo")
    assert got["pipeline"]["stages"][0]["actions"][0]["configuration"]["S3ObjectKey"] == key
    assert watched(got["pipeline"], built_in()) == []


def test_what_is_news():
    news = built_in().news
    assert news("codecommit.reference.updated", pushed()) == ["codecommit:app:main"]
    assert news("codecommit.reference.updated", pushed(event="referenceCreated")) == ["codecommit:app:main"]
    assert news("codecommit.reference.updated", pushed(event="referenceDeleted")) == []
    assert news("codecommit.reference.updated", pushed(referenceType="tag")) == []
    assert news("s3.object.created", {"bucket": {"name": "in"}, "object": {"key": "a/b.zip"}}) == ["s3:in/a/b.zip"]
    assert news("s3.object.deleted", {"bucket": {"name": "in"}, "object": {"key": "a/b.zip"}}) == []


def test_one_change_one_execution_per_pipeline():
    watchers = [
        Watcher(pipeline_id="2", name="two", action="pull"),
        Watcher(pipeline_id="1", name="one", action="second"),
        Watcher(pipeline_id="1", name="one", action="first"),
    ]
    starts = wanted("event-1", watchers)
    assert [(s.name, s.trigger.detail, s.token) for s in starts] == [
        ("one", "first", "event:event-1"),
        ("two", "pull", "event:event-1"),
    ]


async def stored_event(harness, event: Event) -> Event:
    id, now = harness.app.ids.uuid(), harness.app.clock.now()
    await harness.app.store.write(emit, event, now=now, id=id)
    return replace(event, id=id, at=now)


async def test_a_push_starts_once_however_often_it_is_reported(harness):
    await harness.create(stage("Source", {**repository(), "outputArtifacts": [{"name": "App"}]}), BUILD)
    event = Event(
        type="codecommit.reference.updated",
        account=ADMIN.account,
        region=REGION,
        aggregate="repository/app",
        payload=pushed(),
        actor=ADMIN.arn,
    )
    stored = await stored_event(harness, event)

    async def listed():
        found = await harness("ListPipelineExecutions", pipelineName="demo")
        return found["pipelineExecutionSummaries"]

    async def twice():
        return len(await listed()) == 2

    await harness.until(twice)
    assert (await listed())[0]["trigger"] == {"triggerType": "PollForSourceChanges", "triggerDetail": "pull"}
    await start_watchers(harness.service, stored)
    assert len(await listed()) == 2
    await harness("UpdatePipeline", pipeline={**_declaration(), "name": "demo"})
    other = await stored_event(harness, event)
    await start_watchers(harness.service, other)
    assert len(await listed()) == 2


def _declaration():
    from pipeline_harness import declared

    quiet = {**repository(PollForSourceChanges="false"), "outputArtifacts": [{"name": "App"}]}
    return declared(stage("Source", quiet), BUILD)


async def test_what_happened_before_a_pipeline_was_made_does_not_start_it(still_harness):
    from dataclasses import replace

    harness = still_harness
    await harness.create(stage("Source", {**repository(), "outputArtifacts": [{"name": "App"}]}), BUILD)
    await harness.ended(await harness.first())
    event = Event(
        id="e1", type="codecommit.reference.updated", account=ADMIN.account, region=REGION, aggregate="r",
        payload=pushed(), at=harness.app.clock.now() - 1,
    )  # fmt: skip
    await start_watchers(harness.service, event)
    assert len((await harness("ListPipelineExecutions", pipelineName="demo"))["pipelineExecutionSummaries"]) == 1
    await start_watchers(harness.service, replace(event, at=harness.app.clock.now()))
    assert len((await harness("ListPipelineExecutions", pipelineName="demo"))["pipelineExecutionSummaries"]) == 2
