"""Who may answer an approval, and how many have to. Pure.

What AWS has no word for: an approval that several people give, that only some may give, or that whoever started the run may not give.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from penstock.pipelines.model import Answer, ApprovalRule
from penstock.wire.call import PrincipalKind, Session

ANYBODY = ApprovalRule()
"""The rule of AWS: one person, whoever policies let answer."""


def person_of(session: Session) -> str:
    """What stands for the person behind a session: one that nobody can choose for themselves.

    The name of a role's session is chosen by whoever assumes the role, except where people sign in to the console by an issuer.
    Elsewhere all sessions of a role are one.
    """
    if session.kind is PrincipalKind.FEDERATED:
        return session.user_arn
    if session.kind is PrincipalKind.ROLE and not (session.console and session.provider):
        return session.arn.rpartition("/")[0]
    return session.arn


def starter_of(arn: str) -> str:
    """What stands for the person behind a change, of which the ARN of its caller alone is known."""
    return arn.rpartition("/")[0] if ":assumed-role/" in arn else arn


def same_person(one: str, other: str) -> bool:
    """Whether two may be the same: a role stands for each of its sessions."""
    return bool(one and other) and (one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/"))


def names(arn: str) -> Iterable[str]:
    """The ways in which a rule may name a user, group or role: its ARN, `user/NAME` and its like, or its name alone."""
    kind, _, path = arn.split(":", 5)[5].partition("/")
    name = path.rpartition("/")[2]
    return (arn, f"{kind}/{name}", name)


def is_approver(rule: ApprovalRule, principals: Sequence[str]) -> bool:
    """Whether a caller, who is all of these users, groups and roles (ARNs), is among the approvers."""
    return not rule.approvers or any(name in rule.approvers for arn in principals for name in names(arn))


def refusal(rule: ApprovalRule, *, person: str, principals: Sequence[str], starter: str, approved: bool) -> str:
    """Why a caller may not answer; "" when they may. Whoever started a run may always reject it."""
    if rule == ANYBODY:
        return ""
    if not is_approver(rule, principals):
        return f"only these may answer it: {', '.join(rule.approvers)}"
    if approved and not rule.self_approval and same_person(person, starter):
        return "whoever started the run, or pushed the change that did, may not approve it"
    counted = rule.required > 1 or not rule.self_approval
    if approved and counted and ":assumed-role/" in person and person.count("/") == 1 and not rule.approvers:
        return (
            "anybody may be behind a session of a role, and this approval asks for persons: answer it as a user, or sign in to "
            "the console by your issuer, or have the role named as an approver"
        )
    return ""


def approved_by(answers: Sequence[Answer], person: str) -> bool:
    """Whether somebody has approved already: each person counts once."""
    return any(one.approved and same_person(person, one.person) for one in answers)


def variables_of(rule: ApprovalRule, answers: Sequence[Answer]) -> Mapping[str, str] | None:
    """The answers as output variables of the action; none of one that AWS has too, which has no variables there."""
    if rule == ANYBODY:
        return None
    found = {"Approvals": str(sum(one.approved for one in answers)), "Required": str(rule.required)}
    for number, one in enumerate(answers, start=1):
        found |= {
            f"Answer{number}": "Approved" if one.approved else "Rejected",
            f"Answer{number}By": one.by,
            f"Answer{number}At": datetime.fromtimestamp(one.at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            f"Answer{number}Summary": one.summary,
        }
    return found


def summary_of(rule: ApprovalRule, answers: Sequence[Answer]) -> str:
    """What is shown of an approval: the answer's own summary, or who gave which of several."""
    if rule.required == 1:
        return answers[-1].summary
    said = "; ".join(f"{one.by.rpartition('/')[2]}{f': {one.summary}' if one.summary else ''}" for one in answers)
    if not answers[-1].approved:
        return f"Rejected. {said}"
    return f"{len(answers)} of {rule.required} approvals. {said}"


def asks(rule: ApprovalRule) -> str:
    """How many approvals an action needs, and from whom, for people; "" for what AWS asks for."""
    if rule == ANYBODY:
        return ""
    many = "1 approval" if rule.required == 1 else f"{rule.required} approvals"
    whom = f" from {', '.join(rule.approvers)}" if rule.approvers else ""
    return f"{many}{whom}{'' if rule.self_approval else ', not from whoever started the run'}"
