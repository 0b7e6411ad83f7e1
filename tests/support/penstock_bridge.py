"""Stand-ins for what rules of EventBridge start: topics and pipelines that note what they are asked."""

from __future__ import annotations

import sys

from penstock_identity_harness import ACCOUNT, REGION

from penstock.component import Component, operations_of
from penstock.store.catalogue import EventType
from penstock.store.events import Event, emit
from penstock.wire.errors import ServiceError
from penstock.wire.services import Service

RAN = EventType(
    name="stand.ran",
    description="Something ran.",
    aggregate="stand",
    source="aws.stand",
    detail_type="Stand Ran",
    resources=lambda event: (event.payload["arn"],),
)


class Busy(ServiceError):
    """Try again."""

    status = 503
    code = "ServiceUnavailable"


class TopicNotFound(ServiceError):
    """Topic does not exist"""

    code = "NotFound"


class Stand:
    """Topics and pipelines that note what they are asked, and fail as the test says."""

    def __init__(self):
        self.asked = []
        self.fails = {}  # by topic or pipeline: how often, with what
        self.runs = None  # the event that a run of a pipeline emits, if it does

    def note(self, call, name, input):
        failing = self.fails.get(name)
        if failing and failing[0] > 0:
            failing[0] -= 1
            raise failing[1]
        self.asked.append((name, input, call.session))


sns, codepipeline = operations_of("sns"), operations_of("codepipeline")


@sns("Publish", resource=lambda _call, input: input["TopicArn"])
async def publish(stand, call, input):
    stand.note(call, input["TopicArn"].rpartition(":")[2], input["Message"])
    return {"MessageId": "1"}


@codepipeline("StartPipelineExecution", resource=lambda call, input: call.arn("codepipeline", input["name"]))
async def start(stand, call, input):
    stand.note(call, input["name"], input)
    id = f"run-{len(stand.asked)}"
    if stand.runs:
        payload = {"arn": call.arn("codepipeline", input["name"])}
        await call.app.store.write(lambda conn: emitted(conn, call.app, payload, correlation=id))
    return {"pipelineExecutionId": id}


def emitted(conn, app, payload, *, aggregate="stand/one", account=ACCOUNT, correlation=""):
    event = Event(
        type=RAN.name, account=account, region=REGION, aggregate=aggregate, payload=payload, correlation=correlation
    )
    emit(conn, event, now=app.clock.now(), id=app.ids.uuid())
    return event


def component(stand):
    def of(app):
        return Component(
            name="stand",
            state=stand,
            services=(Service("sns"), Service("codepipeline")),
            operations=(sys.modules[__name__],),
            events=(RAN,),
        )

    return of
