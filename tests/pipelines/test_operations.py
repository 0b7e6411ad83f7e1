"""Operations one by one: their errors, pages, tokens and tags. Nothing works here: what is started stays started."""

import asyncio

import pytest
from pipeline_harness import ACCOUNT, ADMIN, BUILD, REGION, ROLE, SOURCE, action, approval, declared, harness, stage

from penstock.pipelines.records import start_tokens
from penstock.pipelines.versions import Versions
from penstock.wire.errors import AccessDenied, ServiceError


@pytest.fixture
async def idle(store, clock, tmp_path):
    async with harness(store, clock, tmp_path, works=False) as opened:
        yield opened


async def code(awaitable):
    with pytest.raises(ServiceError) as error:
        await awaitable
    return error.value.wire_code, error.value.message


async def test_names_are_taken_once(idle):
    await idle.create()
    assert await code(idle.create()) == (
        "PipelineNameInUseException",
        f"A pipeline with the name 'demo' already exists in account '{ACCOUNT}'",
    )


async def test_constraints_of_the_model_come_first(idle):
    kind, message = await code(idle("CreatePipeline", pipeline=declared(name="no spaces please")))
    assert kind == "ValidationException"
    assert message.startswith("1 validation error detected: Value at 'pipeline.name' failed to satisfy constraint")


async def test_every_constraint_of_a_declaration(idle):
    def build(**more):
        return declared(SOURCE, stage("Build", action("compile", **more)))

    def kind(**more):
        named = {"category": "Build", "owner": "AWS", "provider": "Scripted", "version": "1", **more}
        return declared(SOURCE, stage("Build", {"name": "compile", "actionTypeId": named}))

    def store(**more):
        return declared(artifactStore={"type": "S3", "location": "artifacts", **more})

    def trigger(**more):
        return declared(triggers=[{"providerType": "CodeStarSourceConnection", "gitConfiguration": more}])

    branch = {"branches": {"includes": ["main"]}}
    at = "pipeline.stages.2.member.actions.1.member"
    variable = {"name": "A", "value": "1"}
    for declaration, place in (
        (declared(name="n" * 101), "pipeline.name"),
        (declared(name="a/b"), "pipeline.name"),
        (declared(roleArn="role"), "pipeline.roleArn"),
        (declared(executionMode="FIFO"), "pipeline.executionMode"),
        (declared(pipelineType="V3"), "pipeline.pipelineType"),
        (declared(version=0), "pipeline.version"),
        (declared(variables=[{"name": "A"}] * 51), "pipeline.variables"),
        (declared(variables=[{"name": "a b"}]), "pipeline.variables.1.member.name"),
        (declared(variables=[{"name": "A", "defaultValue": "x" * 1001}]), "pipeline.variables.1.member.defaultValue"),
        (declared(variables=[{"name": "A", "description": "x" * 201}]), "pipeline.variables.1.member.description"),
        (declared(triggers=[{}] * 51), "pipeline.triggers"),
        (declared(triggers=[{"providerType": "Git"}]), "pipeline.triggers.1.member.providerType"),
        (trigger(push=[branch]), "pipeline.triggers.1.member.gitConfiguration.sourceActionName"),
        (trigger(sourceActionName="a", push=[branch] * 4), "pipeline.triggers.1.member.gitConfiguration.push"),
        (trigger(sourceActionName="a", push=[]), "pipeline.triggers.1.member.gitConfiguration.push"),
        (
            trigger(sourceActionName="a", pullRequest=[{"events": ["REOPENED"], **branch}]),
            "pipeline.triggers.1.member.gitConfiguration.pullRequest.1.member.events",
        ),
        (
            trigger(sourceActionName="a", push=[{"tags": {"includes": ["v"] * 9}}]),
            "pipeline.triggers.1.member.gitConfiguration.push.1.member.tags.includes",
        ),
        (
            trigger(sourceActionName="a", push=[{"tags": {"excludes": ["v" * 256]}}]),
            "pipeline.triggers.1.member.gitConfiguration.push.1.member.tags.excludes",
        ),
        (store(type="EFS"), "pipeline.artifactStore.type"),
        (store(location="ab"), "pipeline.artifactStore.location"),
        (store(location="a_b"), "pipeline.artifactStore.location"),
        (store(encryptionKey={"id": "", "type": "KMS"}), "pipeline.artifactStore.encryptionKey.id"),
        (store(encryptionKey={"id": "k", "type": "AES"}), "pipeline.artifactStore.encryptionKey.type"),
        (declared(artifactStore=None, artifactStores={"us": {"type": "S3", "location": "abc"}}), "artifactStores"),
        (declared(SOURCE, stage("a b", action("x"))), "pipeline.stages.2.member.name"),
        (declared(SOURCE, stage("B", action("a b"))), f"{at}.name"),
        (build(runOrder=0), f"{at}.runOrder"),
        (build(runOrder=1000), f"{at}.runOrder"),
        (build(configuration={"k" * 51: "v"}), f"{at}.configuration"),
        (build(configuration={"Say": ""}), f"{at}.configuration"),
        (build(commands=[]), f"{at}.commands"),
        (build(commands=["x" * 1001]), f"{at}.commands"),
        (build(commands=["x"] * 51), f"{at}.commands"),
        (build(inputArtifacts=[{"name": "a.b"}]), f"{at}.inputArtifacts.1.member.name"),
        (build(outputArtifacts=[{"name": "a b"}]), f"{at}.outputArtifacts.1.member.name"),
        (build(outputArtifacts=[{"name": "a", "files": ["f"] * 11}]), f"{at}.outputArtifacts.1.member.files"),
        (build(outputVariables=["V"] * 16), f"{at}.outputVariables"),
        (build(environmentVariables=[variable] * 11), f"{at}.environmentVariables"),
        (build(environmentVariables=[{"name": "A-B", "value": "1"}]), f"{at}.environmentVariables.1.member.name"),
        (build(environmentVariables=[{**variable, "type": "X"}]), f"{at}.environmentVariables.1.member.type"),
        (build(roleArn="role"), f"{at}.roleArn"),
        (build(region="eu"), f"{at}.region"),
        (build(namespace="a.b"), f"{at}.namespace"),
        (build(timeoutInMinutes=4), f"{at}.timeoutInMinutes"),
        (build(timeoutInMinutes=86_401), f"{at}.timeoutInMinutes"),
        (kind(category="Bake"), f"{at}.actionTypeId.category"),
        (kind(owner="Us"), f"{at}.actionTypeId.owner"),
        (kind(provider="a.b"), f"{at}.actionTypeId.provider"),
        (kind(provider="p" * 36), f"{at}.actionTypeId.provider"),
        (kind(version="1234567890"), f"{at}.actionTypeId.version"),
    ):
        error, message = await code(idle("CreatePipeline", pipeline=declaration))
        assert (error, place) == ("ValidationException", place)
        assert f"at '{place}" in message or place == "artifactStores" in message, message


async def test_tokens_of_sources_are_shown_to_nobody(idle):
    source = {
        "name": "pull",
        "actionTypeId": {"category": "Source", "owner": "ThirdParty", "provider": "GitHub", "version": "1"},
        "configuration": {"Owner": "o", "Repo": "r", "Branch": "main", "OAuthToken": "gh-secret"},
        "outputArtifacts": [{"name": "App"}],
    }
    made = await idle.create(stage("Source", source), BUILD)
    got = await idle("GetPipeline", name="demo")
    for answer in (made, got):
        assert answer["pipeline"]["stages"][0]["actions"][0]["configuration"]["OAuthToken"] == "****"
        assert "gh-secret" not in str(answer)


async def test_long_configuration_values_are_taken(idle):
    say = "x" * 20_000
    await idle.create(SOURCE, stage("Build", action("b", configuration={"Say": say})))
    got = await idle("GetPipeline", name="demo")
    assert got["pipeline"]["stages"][1]["actions"][0]["configuration"]["Say"] == say


async def test_roles_must_be_assumable(idle):
    idle.identity.refused.add(ROLE)
    assert await code(idle.create()) == (
        "InvalidStructureException",
        f"CodePipeline is not authorized to perform AssumeRole on role {ROLE}",
    )
    idle.identity.refused.clear()
    other = "arn:aws:iam::222222222222:role/theirs"
    assert (await code(idle.create(roleArn=other)))[0] == "InvalidStructureException"
    idle.identity.denied.add("iam:PassRole")
    with pytest.raises(AccessDenied, match="iam:PassRole"):
        await idle.create()
    assert (await idle("ListPipelines"))["pipelines"] == []


async def test_policies_are_asked_for_the_right_resource(idle):
    await idle.create()
    base = f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:demo"
    run = await idle.first()
    calls = {
        "GetPipeline": (base, {"name": "demo"}),
        "UpdatePipeline": (base, {"pipeline": declared()}),
        "StartPipelineExecution": (base, {"name": "demo"}),
        "GetPipelineState": (base, {"name": "demo"}),
        "DeletePipeline": (base, {"name": "demo"}),
        "ListPipelineExecutions": (base, {"pipelineName": "demo"}),
        "ListActionExecutions": (base, {"pipelineName": "demo"}),
        "GetPipelineExecution": (base, {"pipelineName": "demo", "pipelineExecutionId": run}),
        "StopPipelineExecution": (base, {"pipelineName": "demo", "pipelineExecutionId": run}),
        "DisableStageTransition": (
            base + "/Build",
            {"pipelineName": "demo", "stageName": "Build", "transitionType": "Inbound", "reason": "r"},
        ),
        "EnableStageTransition": (
            base + "/Build",
            {"pipelineName": "demo", "stageName": "Build", "transitionType": "Inbound"},
        ),
        "RetryStageExecution": (
            base + "/Build",
            {"pipelineName": "demo", "stageName": "Build", "pipelineExecutionId": run, "retryMode": "ALL_ACTIONS"},
        ),
        "PutApprovalResult": (
            base + "/Build/compile",
            {
                "pipelineName": "demo",
                "stageName": "Build",
                "actionName": "compile",
                "token": run,
                "result": {"status": "Approved", "summary": ""},
            },
        ),
        "ListTagsForResource": (base, {"resourceArn": base}),
    }
    for operation, (arn, members) in calls.items():
        idle.identity.denied = {(f"codepipeline:{operation}", arn)}
        with pytest.raises(AccessDenied):
            await idle(operation, **members)


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("GetPipeline", {"name": "nope"}),
        ("GetPipelineState", {"name": "nope"}),
        ("StartPipelineExecution", {"name": "nope"}),
        ("ListPipelineExecutions", {"pipelineName": "nope"}),
        ("ListActionExecutions", {"pipelineName": "nope"}),
        (
            "StopPipelineExecution",
            {"pipelineName": "nope", "pipelineExecutionId": "0" * 8 + "-0000-0000-0000-" + "0" * 12},
        ),
        ("EnableStageTransition", {"pipelineName": "nope", "stageName": "x", "transitionType": "Inbound"}),
    ],
)
async def test_unknown_pipelines(idle, operation, members):
    assert await code(idle(operation, **members)) == (
        "PipelineNotFoundException",
        f"Account '{ACCOUNT}' does not have a pipeline with name 'nope'",
    )


async def test_a_pipeline_that_is_deleted_meanwhile_is_not_found(any_harness):
    for _ in range(20):
        await any_harness.create()
        calls = [any_harness("StartPipelineExecution", name="demo") for _ in range(6)]
        done = await asyncio.gather(*calls, any_harness("DeletePipeline", name="demo"), return_exceptions=True)
        failed = [answer for answer in done if isinstance(answer, BaseException)]
        assert {getattr(error, "wire_code", repr(error)) for error in failed} <= {"PipelineNotFoundException"}


async def test_a_pipeline_that_is_deleted_between_two_reads_is_not_found(idle, monkeypatch):
    await idle.create()
    run = await idle.first()
    monkeypatch.setattr(Versions, "declaration", lambda *_: None)
    gone = "PipelineNotFoundException"
    assert (await code(idle("GetPipelineState", name="demo")))[0] == gone
    assert (await code(idle("GetPipelineExecution", pipelineName="demo", pipelineExecutionId=run)))[0] == gone


async def test_updating_an_unknown_pipeline(idle):
    assert (await code(idle("UpdatePipeline", pipeline=declared())))[0] == "ResourceNotFoundException"


async def test_unknown_stages_executions_and_actions(idle):
    await idle.create()
    nobody = "00000000-0000-4000-8000-000000000000"
    stage_of = {"pipelineName": "demo", "stageName": "Nope"}
    assert (await code(idle("DisableStageTransition", **stage_of, transitionType="Inbound", reason="r")))[
        0
    ] == "StageNotFoundException"
    assert (await code(idle("RetryStageExecution", **stage_of, pipelineExecutionId=nobody, retryMode="ALL_ACTIONS")))[
        0
    ] == "StageNotFoundException"
    approve = {"pipelineName": "demo", "token": nobody, "result": {"status": "Approved", "summary": ""}}
    assert (await code(idle("PutApprovalResult", **approve, stageName="Nope", actionName="x")))[
        0
    ] == "StageNotFoundException"
    assert (await code(idle("PutApprovalResult", **approve, stageName="Build", actionName="x")))[
        0
    ] == "ActionNotFoundException"
    assert (await code(idle("PutApprovalResult", **approve, stageName="Build", actionName="compile")))[
        0
    ] == "InvalidApprovalTokenException"
    assert (await code(idle("GetPipelineExecution", pipelineName="demo", pipelineExecutionId=nobody)))[
        0
    ] == "PipelineExecutionNotFoundException"
    assert (await code(idle("ListActionExecutions", pipelineName="demo", filter={"pipelineExecutionId": nobody})))[
        0
    ] == "PipelineExecutionNotFoundException"
    assert (await code(idle("StopPipelineExecution", pipelineName="demo", pipelineExecutionId=nobody)))[
        0
    ] == "PipelineExecutionNotStoppableException"


async def test_other_accounts_and_regions_see_nothing(idle):
    await idle.create()
    from dataclasses import replace

    stranger = replace(ADMIN, account="222222222222")
    assert (await code(idle("GetPipeline", stranger, name="demo")))[0] == "PipelineNotFoundException"
    assert (await idle("ListPipelines", stranger))["pipelines"] == []
    elsewhere = await idle.app.invoke(ADMIN, "codepipeline", "ListPipelines", {}, region="eu-west-1")
    assert elsewhere["pipelines"] == []


async def test_pages_of_pipelines(idle):
    for name in "edcba":
        await idle.create(name=name)
    seen, token = [], None
    while True:
        page = await idle("ListPipelines", maxResults=2, **({"nextToken": token} if token else {}))
        seen += [p["name"] for p in page["pipelines"]]
        token = page.get("nextToken")
        if not token:
            break
        assert len(page["pipelines"]) == 2
    assert seen == list("abcde")
    assert (await code(idle("ListPipelines", nextToken="nonsense")))[0] == "InvalidNextTokenException"


async def test_pages_of_executions_and_actions(idle):
    await idle.create(executionMode="QUEUED")
    await idle.create(name="other")
    for _ in range(4):
        await idle("StartPipelineExecution", name="demo")
    first = await idle("ListPipelineExecutions", pipelineName="demo", maxResults=3)
    rest = await idle("ListPipelineExecutions", pipelineName="demo", maxResults=3, nextToken=first["nextToken"])
    runs = [e["pipelineExecutionId"] for p in (first, rest) for e in p["pipelineExecutionSummaries"]]
    assert len(set(runs)) == 5
    assert "nextToken" not in rest
    assert (await code(idle("ListPipelineExecutions", pipelineName="other", nextToken=first["nextToken"])))[
        0
    ] == "InvalidNextTokenException"
    state = await idle("GetPipelineState", name="demo")
    source = state["stageStates"][0]
    assert len(source["inboundExecutions"]) == 4
    assert source["inboundExecution"]["pipelineExecutionId"] == runs[0]
    assert source["latestExecution"] == {"pipelineExecutionId": runs[-1], "status": "InProgress", "type": "STANDARD"}
    assert state["stageStates"][1]["actionStates"] == [{"actionName": "compile"}]
    assert "latestExecution" not in state["stageStates"][1]


async def test_parallel_pipelines_show_no_state(idle):
    await idle.create(executionMode="PARALLEL")
    state = await idle("GetPipelineState", name="demo")
    assert all("latestExecution" not in stage for stage in state["stageStates"])
    assert len((await idle("ListPipelineExecutions", pipelineName="demo"))["pipelineExecutionSummaries"]) == 1


async def test_a_token_starts_once_a_day(idle, clock):
    await idle.create()
    start = {"name": "demo", "clientRequestToken": "abc"}
    first = await idle("StartPipelineExecution", **start)
    assert await idle("StartPipelineExecution", **start) == first
    clock.advance(24 * 3600 * 1000)
    assert await idle("StartPipelineExecution", **start) != first
    rows = await idle.app.store.scan(lambda conn: conn.execute(start_tokens.select()).all())
    assert len(rows) == 1


async def test_variables_of_a_start(idle):
    await idle.create(pipelineType="V2", variables=[{"name": "A"}, {"name": "B", "defaultValue": "b"}])
    assert (await code(idle("StartPipelineExecution", name="demo", variables=[{"name": "C", "value": "x"}])))[
        0
    ] == "ValidationException"
    twice = [{"name": "A", "value": "x"}, {"name": "A", "value": "y"}]
    assert (await code(idle("StartPipelineExecution", name="demo", variables=twice)))[0] == "ValidationException"
    run = (await idle("StartPipelineExecution", name="demo"))["pipelineExecutionId"]
    got = (await idle("GetPipelineExecution", pipelineName="demo", pipelineExecutionId=run))["pipelineExecution"]
    assert got["status"] == "Failed"
    assert got["statusSummary"] == "Values for required variables haven't been provided: A"


async def test_source_revisions_must_fit(idle):
    bucket = {"S3Bucket": "in", "S3ObjectKey": "app.zip"}
    source = stage("Source", action("pull", "Source", "S3", outputArtifacts=[{"name": "App"}], configuration=bucket))
    await idle.create(source, BUILD)

    def start(name, kind):
        revision = {"actionName": name, "revisionType": kind, "revisionValue": "x"}
        return idle("StartPipelineExecution", name="demo", sourceRevisions=[revision])

    for name, kind in (("nobody", "COMMIT_ID"), ("pull", "COMMIT_ID"), ("pull", "S3_OBJECT_KEY")):
        assert (await code(start(name, kind)))[0] == "ValidationException"
    await start("pull", "S3_OBJECT_VERSION_ID")


async def test_transitions(idle):
    await idle.create()
    transition = {"pipelineName": "demo", "stageName": "Build", "transitionType": "Inbound"}
    assert (await code(idle("DisableStageTransition", **transition, reason="no: colons")))[0] == "ValidationException"
    await idle("DisableStageTransition", **transition, reason="code freeze")
    state = await idle("GetPipelineState", name="demo")
    described = state["stageStates"][1]["inboundTransitionState"]
    assert described["disabledReason"] == "code freeze"
    assert described["lastChangedBy"] == ADMIN.arn
    assert not described["enabled"]
    assert state["stageStates"][0]["inboundTransitionState"] == {"enabled": True}
    for _ in range(2):  # again is no error
        await idle("EnableStageTransition", **transition)
        state = await idle("GetPipelineState", name="demo")
        assert state["stageStates"][1]["inboundTransitionState"]["enabled"]


async def test_tags(idle):
    made = await idle("CreatePipeline", pipeline=declared(), tags=[{"key": "team", "value": "blue"}])
    assert made["tags"] == [{"key": "team", "value": "blue"}]
    arn = f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:demo"
    await idle("TagResource", resourceArn=arn, tags=[{"key": "team", "value": "red"}, {"key": "a", "value": ""}])
    listed = await idle("ListTagsForResource", resourceArn=arn)
    assert listed["tags"] == [{"key": "a", "value": ""}, {"key": "team", "value": "red"}]
    await idle("UntagResource", resourceArn=arn, tagKeys=["a", "unknown"])
    assert (await idle("ListTagsForResource", resourceArn=arn))["tags"] == [{"key": "team", "value": "red"}]
    assert (await code(idle("TagResource", resourceArn=arn, tags=[{"key": "aws:x", "value": ""}])))[
        0
    ] == "InvalidTagsException"
    many = [{"key": f"k{i}", "value": ""} for i in range(50)]
    assert (await code(idle("TagResource", resourceArn=arn, tags=many)))[0] == "TooManyTagsException"
    assert (await code(idle("ListTagsForResource", resourceArn=arn + "2")))[0] == "ResourceNotFoundException"
    assert (await code(idle("ListTagsForResource", resourceArn=arn.replace(":demo", ":a/b/c"))))[
        0
    ] == "InvalidArnException"


async def test_action_types(idle):
    types = (await idle("ListActionTypes", actionOwnerFilter="AWS"))["actionTypes"]
    s3 = next(t for t in types if t["id"]["provider"] == "S3" and t["id"]["category"] == "Source")
    assert s3["outputArtifactDetails"] == {"minimumCount": 1, "maximumCount": 1}
    assert s3["actionConfigurationProperties"][0]["required"]
    assert (await idle("ListActionTypes", actionOwnerFilter="Custom"))["actionTypes"] == []
    assert (await idle("ListActionTypes", regionFilter="mars-north-1"))["actionTypes"] == []


async def test_succeeded_in_stage(still_harness):
    await still_harness.create(SOURCE, BUILD, stage("Gate", approval()))
    run = await still_harness.first()
    await still_harness.open_approval()

    async def listed(name):
        found = await still_harness(
            "ListPipelineExecutions", pipelineName="demo", filter={"succeededInStage": {"stageName": name}}
        )
        return [e["pipelineExecutionId"] for e in found["pipelineExecutionSummaries"]]

    assert await listed("Build") == [run]
    assert await listed("Gate") == []
    assert await listed("Bui_d") == []
