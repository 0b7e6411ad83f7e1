"""What a kind of target is: how it is asked, and under whose name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock.events.envelopes import seconds
from penstock.events.inputs import given
from penstock.wire.call import Session
from penstock.wire.codec_json import read_json
from penstock.wire.errors import MalformedBody

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.events.interest import RuleBook
    from penstock.wire.arns import Arn

PRINCIPAL = "events.amazonaws.com"


class Failed(Exception):
    """A target cannot be given the event. `code` is one of those of AWS's dead letters."""

    def __init__(self, code: str, message: str, *, again: bool = False, after_ms: int = 0) -> None:
        """`again`: it may be asked again, after so many milliseconds at least; otherwise never."""
        super().__init__(message)
        self.code = code
        self.again = again
        self.after_ms = after_ms


class Busy(Exception):
    """The target is not asked now, for a reason that is not its own: this is no attempt."""

    def __init__(self, after_ms: int) -> None:
        """`after_ms`: when to try again, in milliseconds."""
        super().__init__("too many requests at a time")
        self.after_ms = after_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """An event on its way to a target."""

    book: RuleBook
    id: str  # of the delivery: the same at each attempt
    account: str
    region: str
    rule: str
    rule_arn: str
    target: Mapping[str, Any]
    arn: Arn  # of the target
    event: dict[str, Any]
    hops: int  # of rules that led to the event
    ordering: str  # what it comes in order with
    since: int  # ms: when the event came

    @property
    def app(self) -> App:
        """The application."""
        return self.book.app

    @property
    def text(self) -> str:
        """What the target is given. Raises NotDelivered."""
        came = seconds(self.since)
        return given(self.target, self.event, rule=self.rule, rule_arn=self.rule_arn, came=came)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A kind of target."""

    service: str  # in its ARN
    beginning: str  # of the resource in its ARN
    name: str  # of several, for people
    send: Send
    role: bool = False  # it acts under the target's role
    starts: bool = False  # it starts something, of which further events come
    outside: bool = False  # it is asked over a network, and may be slow: its deliveries take the places of no others
    passes: bool = False  # it lets the event arrive elsewhere
    elsewhere: bool = False  # it may lie in another account or region, and is asked under the target's role then
    parameters: tuple[str, ...] = ()  # members of a target that only this kind has
    # Raises ValidationException for a target that says something which this kind does not take.
    check: Callable[[Mapping[str, Any]], None] = lambda _target: None
