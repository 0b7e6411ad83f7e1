"""What a process logs: every dotted name with what it means, and every field. `docs/reference/log-events.md` is made of it.

The names, their levels and fields are read from the source, so that this vocabulary has exactly those that are written.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_SOURCE = Path(__file__).parents[1]
_LEVELS = {name: name for name in ("debug", "info", "warning", "error")} | {"exception": "error"}

EVENTS = {
    "app.stop_failed": "A component could not stop as it should; the others were stopped.",
    "audit.broken_off": "A process ended without closing its chain of records, as after kill -9. What it had written was taken over.",
    "audit.not_delivered": "Records could not be brought to the bucket of a trail. It is tried again.",
    "audit.unreadable": "A line of the audit trail cannot be read; `penstock audit verify` says more.",
    "builds.adopted": "A build that was running when a process ended is followed by this one.",
    "builds.given_up": "A build was ended since the service failed over and over while it ran it.",
    "builds.left_to_supervisor": "This process ends; the build goes on under its supervisor, and the next process follows it.",
    "builds.log_refused": "Lines of a build's log were not taken, as the group or the role refuses them.",
    "builds.lost": "A build was ended since its processes are gone.",
    "builds.node_unreadable": "The file that names this machine is damaged; it was made anew.",
    "builds.not_removed": "The folder of a build that ended could not be removed. It costs space only.",
    "builds.runtime": "By what builds are isolated here.",
    "builds.session_not_renewed": "The credentials of a build's role could not be renewed. It is tried again before they end.",
    "console.page_failed": "A page of the console failed by a mistake in the program.",
    "console.stream_failed": "The live stream of a page failed by a mistake in the program; the browser asks for another.",
    "deployments.trigger_failed": "A trigger of a deployment group could not publish to its topic: its service role may not, or the topic is gone.",
    "events.delivery_dead": "An event was given up after 20 failures. It stays in the database for 90 days.",
    "events.delivery_failed": "An event could not be handed over. It is tried again after a pause.",
    "http.connections_refused": "Connections were refused, since there are too many or no descriptors are left.",
    "identity.issuer_not_asked": "The keys of an OpenID Connect issuer could not be fetched.",
    "identity.last_uses_lost": "When keys and roles were last used was not written at the end of the process.",
    "identity.policy_unreadable": "A policy in the database cannot be read; its user or role may do nothing, since what it forbids is not known.",
    "identity.resource_policy_unreadable": "The policy of a resource in the database cannot be read; nobody may use it, since what it forbids is not known.",
    "identity.trust_unreadable": "The trust policy of a role in the database cannot be read; nobody can assume it.",
    "logs.index_made_anew": "The index of a log stream, or all of its files, were missing here; they were made from the stream's segments.",
    "logs.index_restored": "The index of a log stream was behind its file, as after a power failure, and was made from it.",
    "logs.not_counted": "CloudWatch refused a data point of a metric filter, such as by its dimension. It is left out.",
    "logs.query_failed": "A query of Logs Insights has ended without results.",
    "logs.not_sent": "What a subscription filter finds could not be sent to its destination. It is tried again, for a day.",
    "logs.not_measured": "What metric filters find in a log group could not be counted. It is tried again each minute.",
    "logs.space_not_freed": "The file system cannot take parts out of a file, so what lies in segments of log streams takes up space there too.",
    "logs.segment_unreadable": "A segment of a log stream is missing or not as it was written: that part of the stream cannot be read.",
    "loop.failed": "A background loop failed. It is tried again; `/readyz` names it meanwhile.",
    "metrics.reading_failed": "Gauges could not be read from the database. They have no value until they can.",
    "monitoring.action_failed": "An action of an alarm did not succeed, such as a message to a topic; the alarm's history says why.",
    "monitoring.source_broke": "A metric source could not be read by a mistake in the program. It is read again at its interval.",
    "monitoring.source_changed": "A metric source began to fail, with its error, or is read without one again.",
    "notifications.not_delivered": "A notification rule could not publish to its topic: the topic's policy does not let codestar-notifications.amazonaws.com, or the topic is gone.",
    "objects.collected": "Bytes of objects that nothing refers to were removed.",
    "pattern.unusable": "A pattern of a service's model cannot be checked; values are not held against it.",
    "pipelines.start_gave_up": "An action failed since it could not be started over and over.",
    "pipelines.stop_refused": "What an action had started did not let itself be stopped.",
    "pipelines.trigger_over_limit": "A change started no run, since too many of the pipeline are under way.",
    "pipelines.webhook_refused": "A request to a webhook started nothing, since something is wrong with it or with the webhook.",
    "ready.database_failed": "The database took no writes when `/readyz` asked.",
    "ready.disk_failed": "The data dir took no writes when `/readyz` asked.",
    "repositories.push_complaint": "What git said of a push.",
    "repositories.pushed": "A push was taken.",
    "repositories.reconciled": "Branches that the folder of a repository had and the database had not, or the other way round, were brought together.",
    "repositories.request_failed": "A request of git failed.",
    "request.cut_short": "An answer that had begun was cut off, so that its client does not take it for complete.",
    "request.failed": "A call failed by a mistake in the program; its caller got a 500.",
    "request.unavailable": "A call was answered with 503, since database or disk do not take writes.",
    "rules.target_broken": "A target of a rule could not be asked by a mistake in the program. It is tried again.",
    "rules.target_failed": "A target of a rule did not take an event. It is tried again, or kept as a dead letter.",
    "schedules.target_failed": "A schedule's target did not do what it was asked. It is asked again, or that is kept as a dead letter.",
    "sealing.key_file_unreadable": "The master keys cannot be read anew; those that are known are used.",
    "sealing.keys_changed": "The process has taken over changed master keys.",
    "sealing.sealed_again": "Values were sealed with the newest master key.",
    "sealing.values_that_do_not_open": "Values in the database do not open with any master key that is there.",
    "secrets.step_failed": "A step of a secret's rotation failed.",
    "server.draining": "The process was asked to end: it finishes its calls and takes no new ones.",
    "store.after_commit_failed": "What follows a transaction failed by a mistake in the program. The transaction stands.",
    "store.tap_failed": "A live view failed by a mistake in the program. The transaction stands.",
    "store.task_failed": "A task of the database's own failed by a mistake in the program.",
    "topics.given_up": "A message was not taken by a subscription's endpoint as often as it is tried, or was refused for good.",
    "topics.not_asked": "An endpoint could not be asked to confirm its subscription. Subscribing it again asks again.",
    "topics.not_reported": "What became of a message could not be written to the log of its topic's deliveries, which its attributes ask for. The delivery itself is over.",
    "topics.not_delivered": "A message was not taken by a subscription's endpoint. It is tried again.",
    "traces.not_sent": "A collector does not take traces; `penstock_traces_total` counts them. It is logged again after one was taken.",
    "trail.unwritable": "The file of records takes no lines; calls that change something are refused until it does.",
    "work.dead": "A job was given up. `penstock jobs` lists it.",
    "work.failed": "A job failed. It is tried again after a pause.",
    "work.failed_after_completion": "A job failed after it had ended its work. Nothing is lost.",
    "work.fenced": "A job's lease had gone to another worker, which does it.",
    "work.lapsed": "Leases ran out, as after the death of a worker, and their jobs were taken back.",
    "work.lease_lost": "A job that this process runs was taken by another, since its lease was not renewed in time.",
    "work.not_given_back": "A job could not be put back at the end of the process. It is taken when its lease ends.",
    "work.on_dead_failed": "What waits for a job that is to be given up could not be notified. It is tried again.",
    "work.taken_back": "Jobs that this process had in its hands when it last ended were taken back.",
    "work.unsettled": "The end of a job could not be written. It runs again when its lease ends.",
}
"""Dotted name → what happened, and what is to be done, in a sentence or two."""

FIELDS = {
    "account": "id of the account",
    "action": "id of an action's execution",
    "again_after": "seconds until it is tried again",
    "alarm": "name of the alarm",
    "arn": "ARN of what it is about",
    "batches": "how many batches of log events",
    "blobs": "how many pieces of objects' bytes",
    "bucket": "name of the bucket",
    "build": "id of the build",
    "caller": "ARN of the caller",
    "chain": "name of the chain of records",
    "column": "table and column",
    "deployment": "id of the deployment",
    "error": "what failed, with the error's own words",
    "event_id": "id of an event of the catalogue",
    "file": "path of the file",
    "filter": "name of the subscription filter",
    "folder": "path of the folder",
    "group": "name of the log group",
    "invocation": "id of what a schedule asked of its target",
    "isolation": "what isolates builds from the machine",
    "issuer": "address of the issuer",
    "job": "id of the job",
    "jobs": "how many jobs",
    "key": "id of the master key",
    "keys": "ids of master keys",
    "kind": "kind of the job",
    "left": "bytes behind the last complete batch",
    "line": "number of the line",
    "lines": "how many lines",
    "loop": "name of the loop",
    "metric": "name of the metric",
    "operation": "service and operation",
    "path": "path of the request",
    "pattern": "the pattern",
    "pipeline": "name of the pipeline",
    "principal": "whose policy it is",
    "published": "id of a message of a topic",
    "query": "id of the query",
    "reason": "why, in a sentence",
    "repository": "name of the repository",
    "request": "id of the request, which its caller got too",
    "resource": "ARN of the resource",
    "role": "ARN of the role",
    "rule": "ARN of the notification rule",
    "runtime": "name of the runtime",
    "said": "its own words",
    "step": "name of the step",
    "stream": "name of the log stream",
    "subscription": "name of the subscription",
    "trail": "the trail",
    "tries": "how often it was tried",
    "values": "how many values",
    "webhook": "name of the webhook",
    "why": "why, in a sentence",
}
"""Field → what it holds."""


@dataclass(slots=True)
class Written:
    """A log event as the source writes it."""

    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)


class Undescribed(Exception):
    """The source logs something that this vocabulary does not have, or not as a dotted name with named fields."""


def written(folder: Path = _SOURCE) -> dict[str, Written]:
    """Every log event of the source below a folder, by name. Raises Undescribed."""
    found: dict[str, Written] = {}
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text()
        if "getLogger(" not in text:
            continue
        for call in _logging(ast.parse(text)):
            where = f"{path.relative_to(folder)}:{call.lineno}"
            name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
            if not isinstance(name, str) or name not in EVENTS or len(call.args) > 1:
                raise Undescribed(f"{where} logs {ast.unparse(call)[:80]}: describe it in EVENTS of cli/log_events.py")
            one = found.setdefault(name, Written())
            one.levels.add(_LEVELS[_method(call)])
            one.fields |= set(_fields(call, where))
    return found


def _logging(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _method(node) in _LEVELS:
            assert isinstance(node.func, ast.Attribute)
            if isinstance(node.func.value, ast.Name) and node.func.value.id in ("log", "_log"):
                yield node


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _fields(call: ast.Call, where: str) -> Iterator[str]:
    for given in call.keywords:
        if given.arg != "extra":
            continue
        keys = given.value.keys if isinstance(given.value, ast.Dict) else [None]
        for key in keys:
            name = key.value if isinstance(key, ast.Constant) else None
            if not isinstance(name, str) or name not in FIELDS:
                raise Undescribed(f"{where} logs a field that FIELDS of cli/log_events.py does not describe: {name}")
            yield name
