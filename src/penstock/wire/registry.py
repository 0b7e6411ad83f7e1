"""The operation registry: what is served, by whom, under which IAM action and resource.

A component declares its operations by `penstock.component.operations_of`, which fills a table for each service.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from penstock.wire.call import Call, Input, Output, Reply

Handler = Callable[[Call[Any], Input], Awaitable[Output | Reply | None]]
ResourceOf = Callable[[Call[Any], Input], "str | Sequence[str] | Awaitable[str | Sequence[str]]"]
ActionOf = Callable[[Call[Any], Input], str]
KeysOf = Callable[[Call[Any], Input], Mapping[str, "str | tuple[str, ...]"]]


class Access(StrEnum):
    """Who may call an operation."""

    POLICY = "policy"  # whom policies allow its action
    AUTHENTICATED = "authenticated"  # whoever has signed; the operation says what they see and do
    CERTIFICATE = "certificate"  # whoever has signed with the key of a certificate; the operation says whose it trusts
    UNSIGNED = "unsigned"  # anybody, also without a signature; the operation checks what its input shows


class Recorded(StrEnum):
    """What the trail of an installation says of an operation's calls."""

    MANAGEMENT = "management"  # each is recorded
    DATA = "data"  # about the content of something, such as an object; recorded where a trail asks for it
    NEVER = "never"  # polls and reports of hosts, which the journals of deployments have


# The verbs of operations that change nothing (AWS: each service's "actions, resources, and condition keys", access levels read and list).
_READING = (
    "Get",
    "List",
    "Describe",
    "BatchGet",
    "Head",
    "Lookup",
    "Search",
    "Filter",
    "Poll",
    "Simulate",
    "Decode",
    "Preview",
    "Query",
    "Check",
    "Validate",
    "Test",
    "Encrypt",
    "Decrypt",
    "ReEncrypt",
    "GenerateDataKey",
    "GenerateRandom",
    "GenerateMac",
    "Verify",
    "Sign",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One registered operation."""

    service: str  # botocore's service name
    name: str  # the model's operation name
    handler: Handler
    action: str | ActionOf  # IAM action, such as "codepipeline:GetPipeline"
    resource: str | ResourceOf  # ARN or ARNs the action is checked on; "*" where AWS knows no resource
    access: Access = Access.POLICY
    keys: KeysOf | None = None  # the service's own condition keys of a request, in lower case
    own_digests: bool = False  # checksums in its headers are those of something else than its body
    long_poll: bool = False  # held open; cancelled when the client goes away
    abandonable: bool = False  # changes nothing, and costs much: cancelled when the client goes away
    unthrottled: bool = False  # never answered with ThrottlingException (agents)
    recorded: Recorded = Recorded.MANAGEMENT
    reads: bool = False  # changes nothing


class Operations:
    """The operations of one service, as its component declares them."""

    def __init__(self, service: str, *, action_prefix: str | None = None) -> None:
        self.service = service
        self.action_prefix = action_prefix or service
        self._operations: dict[str, Operation] = {}

    def operation(
        self,
        name: str,
        *,
        action: str | ActionOf | None = None,
        resource: str | ResourceOf = "*",
        access: Access = Access.POLICY,
        keys: KeysOf | None = None,
        own_digests: bool = False,
        long_poll: bool = False,
        abandonable: bool = False,
        unthrottled: bool = False,
        recorded: Recorded = Recorded.MANAGEMENT,
    ) -> Callable[[Handler], Handler]:
        """Declare the coroutine under it as the operation `name` of the model."""

        def declare(handler: Handler) -> Handler:
            if name in self._operations:
                raise ValueError(f"{self.service}:{name} is declared twice")
            self._operations[name] = Operation(
                service=self.service,
                name=name,
                handler=handler,
                action=action or f"{self.action_prefix}:{name}",
                resource=resource,
                access=access,
                keys=keys,
                own_digests=own_digests,
                long_poll=long_poll,
                abandonable=abandonable,
                unthrottled=unthrottled,
                recorded=recorded,
                reads=name.startswith(_READING),
            )
            return handler

        return declare

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._operations.values())


class Registry:
    """Every operation that this process serves."""

    def __init__(self) -> None:
        self._operations: dict[tuple[str, str], Operation] = {}

    def add(self, operations: Operations) -> None:
        """Add a component's table. A second handler for an operation is a programming error."""
        for operation in operations:
            key = (operation.service, operation.name)
            if key in self._operations:
                raise ValueError(f"{operation.service}:{operation.name} is registered twice")
            self._operations[key] = operation

    def get(self, service: str, name: str) -> Operation | None:
        """The operation, or None when it is not served."""
        return self._operations.get((service, name))

    def __iter__(self) -> Iterator[Operation]:
        return iter(sorted(self._operations.values(), key=lambda op: (op.service, op.name)))
