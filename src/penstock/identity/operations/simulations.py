"""Simulations of policies, and the condition keys that policies ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from penstock.application import Call
from penstock.identity.authority import Authority
from penstock.identity.conditions import check_value
from penstock.identity.documents import identity_policy, resource_policy
from penstock.identity.errors import InvalidInputException, MalformedPolicyDocumentException
from penstock.identity.operations import iam
from penstock.identity.operations.entities import PAGES
from penstock.identity.operations.owned_policies import FIND, Document, policies_of
from penstock.identity.policy import Caller, Policy
from penstock.identity.simulation import BOUNDARY, IDENTITY, ORGANIZATION, RESOURCE, Simulation, Source
from penstock.identity.variables import Value
from penstock.wire.call import Input, Output

_ENTRIES = 10_000  # statements and keys of one page, which ends when it has them


def _of_source(call: Call, input: Input) -> str:
    return input["PolicySourceArn"]


@iam("GetContextKeysForCustomPolicy")
async def get_context_keys_for_custom_policy(authority: Authority, call: Call, input: Input) -> Output:
    """The condition keys that documents ask for."""
    return await _keys(_inputs(input, "PolicyInputList"))


@iam("GetContextKeysForPrincipalPolicy", resource=_of_source)
async def get_context_keys_for_principal_policy(authority: Authority, call: Call, input: Input) -> Output:
    """The condition keys that the policies of a user, a group or a role ask for, its boundary and further documents among them."""
    found = await call.app.store.read(policies_of, call, input["PolicySourceArn"])
    documents = [one.document for one in found.policies]
    return await _keys([*documents, *(found.bounds or ()), *_inputs(input, "PolicyInputList")])


@iam("SimulateCustomPolicy")
async def simulate_custom_policy(authority: Authority, call: Call, input: Input) -> Output:
    """What documents say of actions on resources."""
    caller = input.get("CallerArn", "")
    return await _simulate(call, input, caller=caller, documents=[], boundary=None)


@iam("SimulatePrincipalPolicy", resource=_of_source)
async def simulate_principal_policy(authority: Authority, call: Call, input: Input) -> Output:
    """What the policies of a user with its groups, of a group or of a role say, and further documents, of actions on resources."""
    source, excluded = input["PolicySourceArn"], input.get("PolicyExclusionList", [])
    found = await call.app.store.read(policies_of, call, source)
    documents = [one.document for one in found.policies if not any(map(one.excluded, excluded))]
    bounded = not any(one.get("PolicyType") == "permission-boundary" for one in excluded)
    caller = input.get("CallerArn") or (source if ":user/" in source else "")
    return await _simulate(call, input, caller=caller, documents=documents, boundary=found.bounds if bounded else None)


async def _simulate(
    call: Call, input: Input, *, caller: str, documents: Sequence[Document], boundary: Sequence[Document] | None
) -> Output:
    actions, resources = input["ActionNames"], input.get("ResourceArns") or ["*"]
    _check(input, actions, resources)
    bounds = _inputs(input, "PermissionsBoundaryPolicyInputList") or boundary
    organization = [
        await _compiled(_inputs(level, "ServiceControlPolicyInputList"), ORGANIZATION)
        for level in input.get("OrderedOrganizationPolicyInputList", [])
    ]
    known = _caller(call, caller)
    simulation = Simulation(
        identity=await _compiled([*documents, *_inputs(input, "PolicyInputList")], IDENTITY),
        boundary=None if bounds is None else await _compiled(bounds, BOUNDARY),
        resource=await _resource_policy(input, caller),
        organization=[level for level in organization if level],
        caller=known,
        owner=_resource_owner(input) or known.account,
        context=_context(input),
    )
    after = PAGES.after(call, input)
    start, count = 0 if after is None else after[0], len(actions) * len(resources)
    results: list[Output] = []
    entries, number = 0, start
    while number < min(count, start + input.get("MaxItems", 100)) and entries < _ENTRIES:
        action, resource = actions[number // len(resources)], resources[number % len(resources)]
        results.append(await simulation.result(action, resource, listed="ResourceArns" in input))
        entries += len(results[-1]["MatchedStatements"]) + len(results[-1]["MissingContextValues"])
        number += 1
    more = {"Marker": PAGES.token(call, input, [number])} if number < count else {}
    return {"EvaluationResults": results, "IsTruncated": bool(more), **more}


def _inputs(input: Input, member: str) -> list[Document]:
    return [Document(f"{member}.{number}", text) for number, text in enumerate(input.get(member, []), 1)]


async def _keys(documents: Iterable[Document]) -> Output:
    found: dict[str, str] = {}
    for source in await _compiled(documents, IDENTITY):
        found |= {key: spelt for key, spelt in source.spelling.items() if key not in found}
        await asyncio.sleep(0)
    return {"ContextKeyNames": list(found.values())}


async def _compiled(
    documents: Iterable[Document], kind: str, compile: Callable[[str], Policy] = identity_policy
) -> list[Source]:
    """Documents, ready to be asked. Raises InvalidInput."""
    sources = []
    for one in documents:
        try:
            sources.append(Source(one.name, one.text, compile(one.text), kind))
        except MalformedPolicyDocumentException as refused:
            raise InvalidInputException(f"{one.name}: {refused.message}") from None
        await asyncio.sleep(0)  # others have the event loop between documents, each of which may be large
    return sources


async def _resource_policy(input: Input, caller: str) -> Source | None:
    document = input.get("ResourcePolicy")
    if document is None:
        return None
    if not caller:
        raise InvalidInputException("Invalid caller - Caller cannot be null or empty.")
    (source,) = await _compiled([Document("ResourcePolicy", document)], RESOURCE, resource_policy)
    return source


def _check(input: Input, actions: Sequence[str], resources: Sequence[str]) -> None:
    """Raises InvalidInput for what cannot be simulated."""
    if not actions:
        raise InvalidInputException("ActionNames is required.")
    for action in actions:
        if not all(action.partition(":")[::2]):
            raise InvalidInputException(f"The action {action} is invalid since it is missing names")
    for resource in resources:
        if resource != "*" and (not resource.startswith("arn:") or resource.count(":") < 5):
            raise InvalidInputException(f"ResourceNames are not in a valid ARN format: {resource}.")
    if "ResourceHandlingOption" in input:
        raise InvalidInputException("ResourceHandlingOption speaks of instances of EC2, which are not simulated here.")


def _resource_owner(input: Input) -> str:
    owner = input.get("ResourceOwner", "")
    if owner and (not owner.startswith("arn:") or owner.count(":") < 5):
        raise InvalidInputException("Invalid Resource Owner.")
    return owner.split(":", 5)[4] if owner else ""


def _caller(call: Call, arn: str) -> Caller:
    """The caller of an ARN by the names that the policy of a resource may give it; without one, somebody of the account."""
    if not arn:
        return Caller(account=call.account)
    parts = arn.split(":", 5)
    kind = parts[5].partition("/")[0] if len(parts) == 6 and parts[2] == "iam" else ""
    if kind not in FIND:
        raise InvalidInputException("Invalid caller - Caller must be an IAM user, role or group in this context.")
    names = frozenset((arn,))
    if kind == "role":
        return Caller(account=parts[4], behind=names)
    return Caller(account=parts[4], itself=names if kind == "user" else frozenset())


def _context(input: Input) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for entry in input.get("ContextEntries", []):
        name, values = entry.get("ContextKeyName", ""), entry.get("ContextKeyValues", [])
        kind = entry.get("ContextKeyType", "string")
        single = kind.removesuffix("List")
        if ":" not in name or name.lower() in found:
            raise InvalidInputException(f"The context key {name!r} is not the name of a key, or is given twice.")
        try:
            for value in values:
                check_value(single, value)
        except ValueError:
            raise InvalidInputException(f"A value of the context key {name} is not of the type {kind}.") from None
        if kind != single:
            found[name.lower()] = tuple(values)
        elif len(values) == 1:
            found[name.lower()] = values[0]
        else:
            raise InvalidInputException(f"The context key {name} of the type {kind} takes exactly one value.")
    return found
