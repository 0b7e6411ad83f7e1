"""Approvals of several people, of some only, and not of whoever started the run."""

import asyncio

import pytest
from engine_driver import Driver, plan, stage
from hypothesis import given
from hypothesis import strategies as st
from penstock_waiting import until
from pipeline_harness import ACCOUNT, ADMIN, BUILD, SOURCE, approval
from pipeline_harness import stage as declared_stage

from penstock.pipelines import approval_rules
from penstock.pipelines.errors import ApprovalAlreadyCompletedException
from penstock.pipelines.inputs import ActionReported, ActionTimedOut, ApprovalAnswered
from penstock.pipelines.model import ApprovalRule, Details
from penstock.wire.call import PrincipalKind, Session
from penstock.wire.errors import AccessDenied, ServiceError

IAM = f"arn:aws:iam::{ACCOUNT}"
DEPLOYER = f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer"


def person(name):
    return Session(
        account=ACCOUNT, kind=PrincipalKind.USER, arn=f"{IAM}:user/{name}", principal_id=f"AIDA{name.upper()}"
    )


def in_role(session, **more):
    return Session(
        account=ACCOUNT, kind=PrincipalKind.ROLE, arn=f"{DEPLOYER}/{session}", principal_id=f"AROA:{session}",
        role_arn=f"{IAM}:role/team/deployer", **more,
    )  # fmt: skip


def gated(**rule):
    """A run at the approval `ok`, which has that rule."""
    gate = stage("Gate", "?ok")
    ((action,),) = gate.groups
    action = type(action)(name=action.name, type=action.type, answered_by=ApprovalRule(**rule))
    d = Driver(plan(stage("Source", "pull"), type(gate)(name="Gate", groups=((action,),)), stage("Deploy", "roll")))
    run = d.start()
    d.succeed(run, "pull")
    d.apply(ActionReported(execution=run, action=d.run_of(run, "ok").id, details=Details(resolved={})))
    return d, run


def answer(d, run, by, *, approved=True, summary="", principals=()):
    found = d.run_of(run, "ok")
    arn = f"{IAM}:user/{by}"
    asked = {"execution": run, "action": found.id, "token": found.token, "approved": approved, "summary": summary}
    return d.apply(ApprovalAnswered(**asked, by=arn, person=arn, principals=(arn, *principals)))


def test_as_many_people_as_are_asked_for_approve_it():
    d, run = gated(required=3)
    for number, name in enumerate(("ada", "bob"), start=1):
        (described,) = answer(d, run, name, summary="fine")
        assert described.details.summary.startswith(f"{number} of 3 approvals. ada: fine")
        assert d.running(run) == ["ok"]
        with pytest.raises(ApprovalAlreadyCompletedException, match=f"counts once, and {3 - number} of 3"):
            answer(d, run, name)
    answer(d, run, "cy")
    assert d.running(run) == ["roll"]


def test_one_rejection_rejects_also_of_somebody_who_approved():
    d, run = gated(required=2)
    answer(d, run, "ada")
    ended = answer(d, run, "ada", approved=False, summary="I was wrong")[1]
    assert (ended.by, ended.details.summary) == (f"{IAM}:user/ada", "Rejected. ada; ada: I was wrong")
    assert d.status(run) == "Failed"
    d.retry(run, "Gate")
    assert d.run_of(run, "ok").answers == ()  # asked anew


def test_too_few_in_time_are_not_enough():
    d, run = gated(required=2)
    answer(d, run, "ada")
    effects = d.apply(ActionTimedOut(execution=run, action=d.run_of(run, "ok").id))
    assert effects[1].message == "Only 1 of 2 approvals came within 60 minutes."
    assert (d.status(run), effects[1].by) == ("Failed", "")


def test_only_approvers_answer():
    d, run = gated(approvers=("cy", "group/leads"))
    for approved in (True, False):
        with pytest.raises(AccessDenied, match="only these may answer it: cy, group/leads"):
            answer(d, run, "ada", approved=approved, principals=(f"{IAM}:group/a/others",))
    assert d.running(run) == ["ok"]
    answer(d, run, "ada", principals=(f"{IAM}:group/a/leads",))
    assert d.running(run) == ["roll"]


NAMED = [  # approver, ARN of whom, whether it names them
    ("ada", f"{IAM}:user/team/ada", True),
    ("ada", f"{IAM}:group/ada", True),
    ("user/ada", f"{IAM}:user/team/ada", True),
    ("user/ada", f"{IAM}:group/ada", False),
    (f"{IAM}:user/team/ada", f"{IAM}:user/team/ada", True),
    (f"{IAM}:user/ada", f"{IAM}:user/team/ada", False),
    ("team", f"{IAM}:user/team/ada", False),
    ("ad", f"{IAM}:user/ada", False),
    ("ada", f"{IAM}:root", False),
    (f"{IAM}:root", f"{IAM}:root", True),
]


def test_whom_an_approver_names():
    for approver, arn, named in NAMED:
        assert approval_rules.is_approver(ApprovalRule(approvers=(approver,)), (arn,)) is named, (approver, arn)


def test_who_is_one_person():
    ada, ci, other = person("ada"), in_role("ci"), in_role("somebody")
    by_issuer = [in_role(name, console="row", provider=f"{IAM}:oidc-provider/x") for name in ("ada", "bob")]
    assert approval_rules.person_of(ada) == ada.arn
    assert approval_rules.person_of(ci) == approval_rules.person_of(other) == DEPLOYER
    assert [approval_rules.person_of(one) for one in by_issuer] == [one.arn for one in by_issuer]
    assert not approval_rules.same_person(*(one.arn for one in by_issuer))
    assert approval_rules.same_person(by_issuer[0].arn, approval_rules.starter_of(ci.arn))
    assert not approval_rules.same_person(f"{IAM}:user/ada", f"{IAM}:user/adam")
    assert not approval_rules.same_person("", "")


def test_a_role_is_nobody_in_particular():
    ask = {"person": DEPLOYER, "principals": (f"{IAM}:role/team/deployer",), "starter": "", "approved": True}
    assert approval_rules.refusal(ApprovalRule(), **ask) == ""
    for rule in (ApprovalRule(required=2), ApprovalRule(self_approval=False)):
        assert approval_rules.refusal(rule, **ask).startswith("anybody may be behind a session of a role")
        assert approval_rules.refusal(rule, **{**ask, "approved": False}) == ""
    assert approval_rules.refusal(ApprovalRule(required=2, approvers=("deployer",)), **ask) == ""


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=12),
)
def test_nothing_passes_with_fewer_people(required, given):
    d, run = gated(required=required)
    approved = set()
    for name, yes in given:
        if d.running(run) != ["ok"]:
            break
        try:
            answer(d, run, name, approved=yes)
        except ApprovalAlreadyCompletedException:
            assert yes
            assert name in approved
            continue
        if yes:
            assert name not in approved
            approved.add(name)
        else:
            assert d.status(run) == "Failed"
    assert (d.running(run) == ["roll"]) == (len(approved) >= required)


async def test_two_of_a_group_and_not_whoever_started_it(any_harness):
    harness = any_harness
    rule = {"RequiredApprovals": "2", "Approvers": "group/leads,cy", "AllowSelfApproval": "false"}
    await harness.create(SOURCE, declared_stage("Gate", approval(configuration=rule, namespace="gate")), BUILD)
    run = await harness.first()
    token = await harness.open_approval()
    harness.identity.groups = {one.arn: (f"{IAM}:group/leads",) for one in (ADMIN, person("ada"), person("bob"))}

    async def put(session, status="Approved", summary=""):
        return await harness(
            "PutApprovalResult", session, pipelineName="demo", stageName="Gate", actionName="ok", token=token,
            result={"status": status, "summary": summary},
        )  # fmt: skip

    with pytest.raises(AccessDenied, match="whoever started the run"):
        await put(ADMIN)
    with pytest.raises(AccessDenied, match="only these may answer it"):
        await put(person("mallory"), "Rejected")
    await put(person("ada"), summary="tried it")
    state = await harness("GetPipelineState", name="demo")
    latest = state["stageStates"][1]["actionStates"][0]["latestExecution"]
    assert latest["summary"] == "1 of 2 approvals. ada: tried it"
    assert (latest["status"], latest["token"], latest.get("lastUpdatedBy")) == ("InProgress", token, None)
    with pytest.raises(ServiceError) as again:
        await put(person("ada"))
    assert again.value.wire_code == "ApprovalAlreadyCompletedException"
    await put(person("cy"))
    assert await harness.ended(run) == "Succeeded"
    listed = await harness("ListActionExecutions", pipelineName="demo", filter={"pipelineExecutionId": run})
    (asked,) = [one for one in listed["actionExecutionDetails"] if one["stageName"] == "Gate"]
    found = asked["output"]["outputVariables"]
    assert found.pop("Answer1At").endswith("Z")
    assert found.pop("Answer2At").endswith("Z")
    assert found == {
        "Approvals": "2", "Required": "2",
        "Answer1": "Approved", "Answer1By": person("ada").arn, "Answer1Summary": "tried it",
        "Answer2": "Approved", "Answer2By": person("cy").arn, "Answer2Summary": "",
    }  # fmt: skip
    assert asked["updatedBy"] == person("cy").arn


async def test_several_who_answer_at_once_each_count_once(any_harness):
    harness = any_harness
    await harness.create(SOURCE, declared_stage("Gate", approval(configuration={"RequiredApprovals": "3"})), BUILD)
    run = await harness.first()
    token = await harness.open_approval()

    async def put(name):
        return await harness(
            "PutApprovalResult", person(name), pipelineName="demo", stageName="Gate", actionName="ok", token=token,
            result={"status": "Approved", "summary": name},
        )  # fmt: skip

    came = await asyncio.gather(*(put(name) for name in ("ada", "bob", "ada", "bob")), return_exceptions=True)
    refused = [one for one in came if isinstance(one, ServiceError)]
    assert [one.wire_code for one in refused] == ["ApprovalAlreadyCompletedException"] * 2
    assert len(came) - len(refused) == 2
    came = await asyncio.gather(*(put(name) for name in ("cy", "dee", "eve")), return_exceptions=True)
    assert sum(not isinstance(one, Exception) for one in came) == 1
    assert await harness.ended(run) == "Succeeded"


def test_users_of_a_group_approve_by_boto3(live):
    iam, pipelines = live.client("iam"), live.client("codepipeline")
    trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"codepipeline.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
    role = iam.create_role(RoleName="approved", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.attach_role_policy(RoleName="approved", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    live.client("s3").create_bucket(Bucket="approved")
    live.client("s3").put_bucket_versioning(Bucket="approved", VersioningConfiguration={"Status": "Enabled"})
    live.client("s3").put_object(Bucket="approved", Key="app.zip", Body=b"PK\5\6" + bytes(18))
    iam.create_group(GroupName="leads", Path="/release/")
    clients = {}
    for name in ("ada", "bob", "mallory"):
        iam.create_user(UserName=name)
        iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AWSCodePipeline_FullAccess")
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        clients[name] = live.client("codepipeline", keys=keys)
        if name != "mallory":
            iam.add_user_to_group(GroupName="leads", UserName=name)

    def kind(category, provider):
        return {"category": category, "owner": "AWS", "provider": provider, "version": "1"}

    source = {
        "name": "S3", "actionTypeId": kind("Source", "S3"), "outputArtifacts": [{"name": "App"}],
        "configuration": {"S3Bucket": "approved", "S3ObjectKey": "app.zip", "PollForSourceChanges": "false"},
    }  # fmt: skip
    rule = {"RequiredApprovals": "2", "Approvers": f"{IAM}:group/release/leads"}
    gate = {"name": "Ok", "actionTypeId": kind("Approval", "Manual"), "configuration": rule}
    stages = [{"name": "Source", "actions": [source]}, {"name": "Gate", "actions": [gate]}]
    store = {"type": "S3", "location": "approved"}
    pipelines.create_pipeline(pipeline={"name": "shop", "roleArn": role, "artifactStore": store, "stages": stages})

    def latest():
        (action,) = pipelines.get_pipeline_state(name="shop")["stageStates"][1]["actionStates"]
        return action.get("latestExecution", {})

    token = until(lambda: latest().get("token"))
    answer = {"pipelineName": "shop", "stageName": "Gate", "actionName": "Ok", "token": token}
    yes = {"status": "Approved", "summary": ""}
    with pytest.raises(pipelines.exceptions.ClientError) as refused:
        clients["mallory"].put_approval_result(**answer, result=yes)
    assert refused.value.response["Error"] == {
        "Code": "AccessDeniedException",
        "Message": f"User: {IAM}:user/mallory is not authorized to answer the approval Ok: only these may answer it: {rule['Approvers']}.",
    }
    clients["ada"].put_approval_result(**answer, result=yes)
    with pytest.raises(clients["ada"].exceptions.ApprovalAlreadyCompletedException):
        clients["ada"].put_approval_result(**answer, result=yes)
    clients["bob"].put_approval_result(**answer, result=yes)
    until(lambda: latest()["status"] == "Succeeded")
