"""Profiles: which roles the holders of certificates may take, and how long and how narrow their sessions are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.certificates import mappings, records
from penstock.certificates.errors import ValidationException
from penstock.certificates.operations import Kind, anywhere, refuse_aliases
from penstock.wire.call import Input, Output

DEFAULT_SECONDS = 3600
_MAX_POLICY_ARNS = 10  # of a session (AWS: AssumeRole)


def _to_api(_call: Call, row: Any) -> Output:
    found: Output = {
        "profileId": row.id,
        "profileArn": row.arn,
        "name": row.name,
        "requireInstanceProperties": row.with_properties,
        "enabled": row.enabled,
        "createdBy": row.created_by,
        "roleArns": row.roles,
        "managedPolicyArns": row.policy_arns,
        "durationSeconds": row.seconds,
        "acceptRoleSessionName": row.named,
        "attributeMappings": mappings.to_api(rules_of(row)),
        "createdAt": row.created,
        "updatedAt": row.updated,
    }
    return found | ({"sessionPolicy": row.policy} if row.policy else {})


def rules_of(row: Any) -> mappings.Rules:
    """Which names of certificates a profile maps."""
    return mappings.DEFAULT if row.mappings is None else row.mappings


PROFILES = Kind("profile", "profile", records.profiles, "profileId", "profile", _to_api)


@anywhere("CreateProfile")
async def create_profile(app: App, call: Call, input: Input) -> Output:
    """Name roles that certificates may obtain sessions of. The caller must be allowed to pass each of them. It is off unless created enabled."""
    refuse_aliases(input)
    arns = _policy_arns(input.get("managedPolicyArns", ()))
    roles = list(dict.fromkeys(input["roleArns"]))
    await _pass(call, roles)
    return await PROFILES.create(
        call,
        input,
        roles=roles,
        policy=input.get("sessionPolicy", ""),
        policy_arns=arns,
        seconds=input.get("durationSeconds", DEFAULT_SECONDS),
        named=input.get("acceptRoleSessionName", False),
        with_properties=input.get("requireInstanceProperties", False),
        enabled=input.get("enabled", False),
        created_by=call.session.arn,
    )


@anywhere("GetProfile", resource=PROFILES.resource)
async def get_profile(app: App, call: Call, input: Input) -> Output:
    """A profile."""
    return await PROFILES.get(call, input)


@anywhere("ListProfiles")
async def list_profiles(app: App, call: Call, input: Input) -> Output:
    """The profiles of a region."""
    return await PROFILES.listed(call, input, "profiles")


@anywhere("UpdateProfile", resource=PROFILES.resource)
async def update_profile(app: App, call: Call, input: Input) -> Output:
    """Change what is given. The caller must be allowed to pass each role that is named."""
    refuse_aliases(input)
    given: dict[str, Any] = {
        column: input[member]
        for member, column in (
            ("name", "name"),
            ("sessionPolicy", "policy"),
            ("durationSeconds", "seconds"),
            ("acceptRoleSessionName", "named"),
        )
        if member in input
    }
    if "managedPolicyArns" in input:
        given["policy_arns"] = _policy_arns(input["managedPolicyArns"])
    if "roleArns" in input:
        given["roles"] = list(dict.fromkeys(input["roleArns"]))
        await _pass(call, given["roles"])
    return await PROFILES.change(call, input, lambda _conn, _row: given)


@anywhere("EnableProfile", resource=PROFILES.resource)
@anywhere("DisableProfile", resource=PROFILES.resource)
async def switch_profile(app: App, call: Call, input: Input) -> Output:
    """Let certificates use it, or none."""
    return await PROFILES.switch(call, input)


@anywhere("DeleteProfile", resource=PROFILES.resource)
async def delete_profile(app: App, call: Call, input: Input) -> Output:
    """Forget it. Sessions that it gave last until their end."""
    return await PROFILES.delete(call, input, lambda conn, row: records.delete(conn, records.profiles, row.id))


@anywhere("PutAttributeMapping", resource=PROFILES.resource)
async def put_attribute_mapping(app: App, call: Call, input: Input) -> Output:
    """Map these names of one field of certificates, in place of those that the profile maps of it."""
    field: str = input["certificateField"]
    specifiers = mappings.checked(field, (rule["specifier"] for rule in input["mappingRules"]))
    if not specifiers:
        raise ValidationException(
            "The mappingRules are empty. DeleteAttributeMapping without specifiers lets a profile map nothing of a field."
        )
    return await PROFILES.change(call, input, lambda _conn, row: {"mappings": {**rules_of(row), field: specifiers}})


@anywhere("DeleteAttributeMapping", resource=PROFILES.resource)
async def delete_attribute_mapping(app: App, call: Call, input: Input) -> Output:
    """Map these names of a field no more, or nothing of it. What is not mapped already is no error."""
    field: str = input["certificateField"]
    gone = mappings.checked(field, input.get("specifiers", ()))

    def values(_conn: sa.Connection, row: Any) -> Mapping[str, Any]:
        rules = dict(rules_of(row))
        kept = [one for one in rules.pop(field, ()) if gone and one not in gone]
        return {"mappings": {**rules, field: kept} if kept else rules}

    return await PROFILES.change(call, input, values)


async def _pass(call: Call, roles: Iterable[str]) -> None:
    for role in roles:
        await call.app.identity.pass_role(call, role, source_arn="")


def _policy_arns(given: Iterable[str]) -> list[str]:
    arns = list(dict.fromkeys(given))
    if len(arns) > _MAX_POLICY_ARNS:
        raise ValidationException(f"A session takes at most {_MAX_POLICY_ARNS} managed policies.")
    return arns
