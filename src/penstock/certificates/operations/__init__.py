"""The operations of IAM Roles Anywhere, by resource; what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.certificates import records
from penstock.certificates.errors import ResourceNotFoundException, TooManyTagsException, ValidationException
from penstock.component import operations_of
from penstock.store.deciding import decide_alone
from penstock.wire.call import Input, Output
from penstock.wire.pages import Pages
from penstock.wire.tags import TagRules

anywhere = operations_of("rolesanywhere")
with_certificate = operations_of("rolesanywhere-sessions", action_prefix="rolesanywhere")
ours = operations_of("penstock")
PAGES = Pages(lambda _token: ValidationException("The nextToken is not one that this list has answered."))
MAX_RESOURCES = 250  # trust anchors, profiles and revocation lists of an account and region, each
_PAGE = 50
TAGS = TagRules(  # AWS: TagResource of IAM Roles Anywhere
    too_many=TooManyTagsException,
    reserved=lambda key: ValidationException(f"Tag keys that begin with aws: are reserved: {key}"),
    duplicate=lambda key: ValidationException(f"The tag key {key} is given twice."),
    malformed=lambda key, _value: ValidationException(f"The tag {key} is not valid."),
    limit=200,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of resources."""

    name: str  # in ARNs
    title: str  # in messages
    table: sa.Table
    id_member: str  # of inputs
    member: str  # of answers
    to_api: Callable[[Call, Any], Output]

    def arn(self, call: Call, id: str) -> str:
        """The ARN of a resource of the caller's."""
        return call.arn("rolesanywhere", f"{self.name}/{id}")

    def id_of(self, call: Call, given: str) -> str:
        """The id in what a request names one by: an id or an ARN. Raises ResourceNotFoundException for what is not the caller's."""
        if not given.startswith("arn:"):
            return given
        id = given.rpartition("/")[2]
        if given != self.arn(call, id):
            raise self.missing(given)
        return id

    def resource(self, call: Call, input: Input) -> str:
        """The ARN that policies are asked about."""
        given: str = input[self.id_member]
        return given if given.startswith("arn:") else self.arn(call, given)

    def missing(self, given: str) -> ResourceNotFoundException:
        """The error for one that is not there."""
        return ResourceNotFoundException(kind=self.title, id=given)

    def found(self, conn: sa.Connection, call: Call, given: str, *, locked: bool = False) -> Any:
        """The row of what a request names. Raises ResourceNotFoundException."""
        row = records.find(conn, self.table, place(call), self.id_of(call, given), locked=locked)
        if row is None:
            raise self.missing(given)
        return row

    def answer(self, call: Call, row: Any) -> Output:
        """The answer about one."""
        return {self.member: self.to_api(call, row)}

    async def get(self, call: Call, input: Input) -> Output:
        """One."""
        return self.answer(call, await call.app.store.read(self.found, call, input[self.id_member]))

    async def listed(
        self, call: Call, input: Input, member: str, to_api: Callable[[Call, Any], Output] | None = None
    ) -> Output:
        """A page of those of the place, as `to_api` shows them in lists."""
        limit = input.get("pageSize", _PAGE)
        if not 1 <= limit <= 1000:
            raise ValidationException("The pageSize is a number from 1 to 1000.")
        after = PAGES.after(call, input)
        rows = await call.app.store.read(records.page, self.table, place(call), after, limit + 1)
        found = PAGES.page(call, input, rows, limit=limit, keyset=lambda row: [row.id])
        return {member: [(to_api or self.to_api)(call, row) for row in found.rows], **found.more}

    async def create(
        self, call: Call, input: Input, check: Callable[[sa.Connection], None] = lambda _conn: None, **values: Any
    ) -> Output:
        """Write a new one, enabled as the input says, and answer it. Raises ValidationException or TooManyTagsException.

        `check` is asked in the same transaction.
        """
        id = call.app.ids.uuid()
        row = {
            "id": id,
            "account": call.account,
            "region": call.region,
            "arn": self.arn(call, id),
            "name": input["name"],
            "tags": TAGS.check((tag["key"], tag["value"]) for tag in input.get("tags", ())),
            "created": call.now,
            "updated": call.now,
            **values,
        }

        if row["tags"]:
            await call.app.identity.authorize(call, "rolesanywhere:TagResource", (row["arn"],))

        def tx(conn: sa.Connection) -> Output:
            decide_alone(conn, f"rolesanywhere-{self.name}", *place(call))
            check(conn)
            if records.count(conn, self.table, place(call)) >= MAX_RESOURCES:
                raise ValidationException(f"An account has at most {MAX_RESOURCES} of these in a region.")
            records.insert(conn, self.table, **row)
            return self.answer(call, self.found(conn, call, id))

        answer = await call.app.store.write(tx)
        call.memo["resources"] = (row["arn"],)
        return answer

    async def change(
        self, call: Call, input: Input, values: Callable[[sa.Connection, Any], Mapping[str, Any]]
    ) -> Output:
        """Change one as `values` says of its row, and answer it. Raises ResourceNotFoundException, and what `values` raises."""
        given = input[self.id_member]

        def tx(conn: sa.Connection) -> Output:
            row = self.found(conn, call, given, locked=True)
            records.change(conn, self.table, row.id, **values(conn, row), updated=call.now)
            return self.answer(call, self.found(conn, call, given))

        return await call.app.store.write(tx)

    async def switch(self, call: Call, input: Input) -> Output:
        """Enable or disable one, as the operation's name says."""
        enabled = call.operation.startswith("Enable")
        return await self.change(call, input, lambda _conn, _row: {"enabled": enabled})

    async def delete(self, call: Call, input: Input, forget: Callable[[sa.Connection, Any], None]) -> Output:
        """Forget one, and answer what it was. Raises ResourceNotFoundException."""

        def tx(conn: sa.Connection) -> Output:
            row = self.found(conn, call, input[self.id_member], locked=True)
            forget(conn, row)
            return self.answer(call, row)

        return await call.app.identity.change(tx)


def place(call: Call) -> records.Place:
    """Where the call's resources lie."""
    return call.account, call.region


def refuse_aliases(input: Input) -> None:
    """Raises ValidationException for an alias: resources are named by their ids and ARNs alone."""
    if input.get("aliasName"):
        raise ValidationException(
            "Aliases are not served: leave out aliasName, and name the resource by its id or ARN."
        )


async def tags_of(app: App, arn: str) -> Mapping[str, str]:
    """The tags of a resource by its ARN; none for what is not there."""
    parts = arn.split(":", 5)
    name, _, id = parts[-1].partition("/")
    table = {
        "trust-anchor": records.anchors,
        "profile": records.profiles,
        "crl": records.lists,
        "subject": records.subjects,
    }.get(name)
    if table is None or len(parts) < 6:
        return {}
    row = await app.store.read(records.find, table, (parts[4], parts[3]), id)
    return {} if row is None else row.tags
