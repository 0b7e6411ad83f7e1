"""Which operation a REST request is: by method, path, query and the headers that tell siblings apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import unquote_plus

from penstock.wire.message import RequestHead
from penstock.wire.shapes import Model, OperationModel


@dataclass(frozen=True, slots=True)
class _Candidate:
    operation: OperationModel
    template: tuple[str, ...]  # segments: literal, "{label}" or "{label+}"
    literals: tuple[tuple[str, str], ...]  # query parameters of the URI itself
    queries: frozenset[str]  # query parameters that it requires
    headers: frozenset[str]  # headers that it requires
    known: frozenset[str]  # query parameters that it has a member for
    weight: int
    foreign: frozenset[str] = frozenset()  # query parameters that ask for something else than it does


@dataclass(frozen=True, slots=True)
class _Form:
    template: tuple[str, ...]
    candidates: list[_Candidate]
    plain: list[_Candidate]  # those that want no query parameter


class RestRoutes:
    """The routes of one service."""

    def __init__(self, model: Model) -> None:
        by_form: dict[tuple[str, tuple[str, ...]], list[_Candidate]] = {}
        for name in model.operation_names:
            operation = model.operation(name)
            assert operation is not None
            candidate = _candidate(operation)
            by_form.setdefault((operation.method, candidate.template), []).append(candidate)
        subresources = frozenset(key for found in by_form.values() for one in found for key, _ in one.literals)
        self._forms: dict[str, list[_Form]] = {}
        for (method, template), siblings in by_form.items():
            found = _apart(siblings, subresources)
            # The most demanding first; a deprecated twin comes after its successor.
            found.sort(key=lambda candidate: (-candidate.weight, candidate.operation.deprecated))
            plain = [candidate for candidate in found if not candidate.literals and not candidate.queries]
            self._forms.setdefault(method, []).append(_Form(template, found, plain))
        for forms in self._forms.values():
            forms.sort(key=lambda form: (-sum(not part.startswith("{") for part in form.template), -len(form.template)))

    def claims(self, head: RequestHead) -> bool:
        """Whether the path is one of this service's by its first segment, which no label can be taken for."""
        first = split_path(head.path)[:1]
        forms = self._forms.get(head.method, ())
        return bool(first) and any(form.template[:1] == tuple(first) for form in forms) and self.find(head) is not None

    def find(self, head: RequestHead, *, label: str = "") -> OperationModel | None:
        """The operation that fits best, or None."""
        segments = split_path(head.path, label)
        query = {unquote_plus(pair.partition("=")[0]): pair.partition("=")[2] for pair in head.query.split("&") if pair}
        for form in self._forms.get(head.method, ()):
            if fits(form.template, segments):
                for candidate in form.candidates if query else form.plain:
                    if _answers(candidate, query, head):
                        return candidate.operation
        return None


def _answers(candidate: _Candidate, query: dict[str, str], head: RequestHead) -> bool:
    for key, value in candidate.literals:
        if key not in query or (value and query[key] != value):
            return False
    return (
        candidate.queries <= query.keys()
        and candidate.foreign.isdisjoint(query)
        and candidate.headers <= head.headers.keys()
    )


def _apart(siblings: list[_Candidate], subresources: frozenset[str]) -> list[_Candidate]:
    """The candidates of one form, with what they must not answer.

    `DELETE /bucket/key?acl` is no DeleteObject and `PUT /bucket/key?partNumber=1` no PutObject: who means a part of a thing must
    not lose the thing.
    """
    selecting = frozenset(key for one in siblings if not one.literals for key in one.queries)
    return [one if one.literals else replace(one, foreign=subresources | (selecting - one.known)) for one in siblings]


def split_path(path: str, label: str = "") -> list[str]:
    """The segments of a raw path; the label of a virtual-host address becomes the first."""
    rest = path.removeprefix("/")
    if label:
        rest = f"{label}/{rest}"
    return rest.split("/") if rest else []


def template_of(request_uri: str) -> tuple[str, ...]:
    """The segments of a modelled URI."""
    path = request_uri.partition("?")[0].strip("/")
    return tuple(path.split("/")) if path else ()


def fits(template: tuple[str, ...], segments: list[str]) -> bool:
    """Whether a path has the form of a template. A trailing slash is the absence of the next label."""
    greedy = bool(template) and template[-1].endswith("+}")
    if segments and not segments[-1] and len(segments) == len(template) + 1 and not greedy:
        segments = segments[:-1]
    for index, part in enumerate(template):
        if index >= len(segments):
            return False
        if part.endswith("+}"):
            tail = len(template) - index - 1
            return (
                len(segments) - index > tail
                and segments[index:] != [""]
                and (tail == 0 or fits(template[index + 1 :], segments[-tail:]))
            )
        if not segments[index] if part.startswith("{") else part != segments[index]:
            return False
    return len(segments) == len(template)


def _candidate(operation: OperationModel) -> _Candidate:
    literals: list[tuple[str, str]] = []
    for pair in operation.request_uri.partition("?")[2].split("&"):
        if pair:
            key, _, value = pair.partition("=")
            literals.append((key, value))
    queries: set[str] = set()
    headers: set[str] = set()
    known: set[str] = set()
    if operation.input is not None:
        for name, member in operation.input.members.items():
            if member.location == "querystring":
                known.add(member.wire_name(name))
        for name in operation.input.required:
            member = operation.input.members[name]
            if member.location == "querystring":
                queries.add(member.wire_name(name))
            elif member.location == "header" and member.type != "boolean":
                headers.add(member.wire_name(name).lower())
    template = template_of(operation.request_uri)
    greedy = any(part.endswith("+}") for part in template)
    fixed = sum(not part.startswith("{") for part in template)
    weight = 100 * fixed + 10 * (len(literals) + len(queries) + len(headers)) + len(template) - greedy
    return _Candidate(
        operation, template, tuple(literals), frozenset(queries), frozenset(headers), frozenset(known), weight
    )
