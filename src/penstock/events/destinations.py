"""What a rule can have as a target: how each is asked, and under whose name.

Topics decide by their policies whether EventBridge may publish. What is started acts under the role of the target, as on AWS. A deployment
group as a target is an addition of Penstock: its input are the members of CreateDeployment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.application import App
from penstock.events.errors import ValidationException
from penstock.wire.arns import Arn, parse_arn
from penstock.wire.call import Session, service_session
from penstock.wire.codec_json import read_json
from penstock.wire.errors import MalformedBody

PRINCIPAL = "events.amazonaws.com"


class Failed(Exception):
    """A target cannot be given the event, now or ever. `code` is one of those of AWS's dead letters."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """An event on its way to a target."""

    app: App
    id: str  # of the delivery: the same at each attempt
    account: str
    region: str
    rule_arn: str
    target: Mapping[str, Any]
    arn: Arn  # of the target
    text: str  # what it is given

    @property
    def constant(self) -> bool:
        """Whether the text was made for the target, and is not just the event."""
        return "Input" in self.target or "InputTransformer" in self.target

    async def session(self) -> Session:
        """Of the target's role."""
        session, _ = await self.app.identity.assume(
            role_arn=self.target["RoleArn"],
            service=PRINCIPAL,
            session_name=self.id,
            region=self.region,
            account=self.account,
            source_arn=self.rule_arn,
        )
        return session

    def members(self) -> dict[str, Any]:
        """The input of the operation, as far as the target says it. Raises Failed."""
        if not self.constant:
            return {}
        try:
            found = read_json(self.text.encode(), check_depth=True)
        except MalformedBody as error:
            raise Failed("INVALID_JSON", f"The target's input cannot be read: {error.message}") from None
        if not isinstance(found, dict):
            raise Failed(
                "INVALID_JSON", "The target's input is not a JSON object with members of the operation's input."
            )
        return found


Send = Callable[[Sending], Awaitable[str]]
"""Gives a target its event; what was started, by its id, or "". """


async def _publish(sending: Sending) -> str:
    # No subject, and the text as it is (recorded from AWS).
    session = service_session(PRINCIPAL, sending.account, sending.rule_arn)
    asked = {"TopicArn": sending.target["Arn"], "Message": sending.text}
    await sending.app.invoke(session, "sns", "Publish", asked, region=sending.region)
    return ""


async def _start_pipeline(sending: Sending) -> str:
    more = sending.members()
    asked = {
        "name": sending.arn.resource,
        "clientRequestToken": sending.id,
        **{name: more[name] for name in ("variables", "sourceRevisions") if name in more},
    }
    invoke = sending.app.invoke
    answer = await invoke(
        await sending.session(), "codepipeline", "StartPipelineExecution", asked, region=sending.region
    )
    return answer["pipelineExecutionId"]


async def _start_build(sending: Sending) -> str:
    asked = {
        **sending.members(),
        "projectName": sending.arn.resource.removeprefix("project/"),
        "idempotencyToken": sending.id,
    }
    answer = await sending.app.invoke(await sending.session(), "codebuild", "StartBuild", asked, region=sending.region)
    return answer["build"]["id"]


async def _create_deployment(sending: Sending) -> str:
    application, _, group = sending.arn.resource.removeprefix("deploymentgroup:").partition("/")
    asked = {**sending.members(), "applicationName": application, "deploymentGroupName": group}
    invoke = sending.app.invoke
    answer = await invoke(await sending.session(), "codedeploy", "CreateDeployment", asked, region=sending.region)
    return answer["deploymentId"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A kind of target."""

    beginning: str  # of the resource in its ARN
    send: Send | None  # None: another bus, which takes part in the delivery itself
    role: bool = False  # it acts under the target's role
    starts: bool = False  # it starts something, of which further events come


DESTINATIONS = {  # by the service in the ARN
    "sns": Destination(beginning="", send=_publish),
    "codepipeline": Destination(beginning="", send=_start_pipeline, role=True, starts=True),
    "codebuild": Destination(beginning="project/", send=_start_build, role=True, starts=True),
    "codedeploy": Destination(beginning="deploymentgroup:", send=_create_deployment, role=True, starts=True),
    "events": Destination(beginning="event-bus/", send=None),
}


def destination_of(text: str) -> tuple[Arn, Destination] | None:
    """What an ARN names; None for what cannot be a target."""
    for service, destination in DESTINATIONS.items():
        arn = parse_arn(text, service)
        if arn is not None and arn.resource.startswith(destination.beginning) and arn.resource != destination.beginning:
            return arn, destination
    return None


def check_arn(text: str, account: str, region: str) -> Destination:
    """The kind of a target. Raises ValidationException."""
    found = destination_of(text)
    if found is None:
        if text.count(":") < 5 or not text.startswith("arn:"):
            raise ValidationException(f"Parameter {text} is not valid. Reason: Provided Arn is not in correct format.")
        raise ValidationException(
            f"Parameter {text} is not valid. Reason: Penstock has no targets of this kind. Targets are SNS topics, pipelines, build "
            "projects, deployment groups and event buses."
        )
    arn, destination = found
    if (arn.account, arn.region) != (account, region):
        raise ValidationException(
            f"Parameter {text} is not valid. Reason: A target lies in the account and region of its rule."
        )
    return destination
