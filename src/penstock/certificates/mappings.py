"""Which names in a certificate become tags of its sessions, by the rules of a profile (AWS: IAM Roles Anywhere, "Certificate attribute mapping").

Several values of one attribute are one tag, with slashes between them. A further DNS name or URI has its number behind it: `x509SAN/DNS/2`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from cryptography import x509
from cryptography.x509.oid import NameOID

from penstock.certificates.errors import AccessDeniedException, ValidationException

Rules = Mapping[str, Sequence[str]]
"""Specifiers by the field of a certificate. Nothing is mapped of a field that is missing."""
_ISSUER, _SAN, _SUBJECT = FIELDS = ("x509Issuer", "x509SAN", "x509Subject")
DEFAULT: Rules = {_ISSUER: ("*",), _SAN: ("DNS", "URI", "Name/*"), _SUBJECT: ("*",)}
MAX_RULES = 50  # of one field: a session has no more tags
_TITLES = {"Issuer": _ISSUER, "Subject": _SUBJECT, "SAN": _SAN}
_NAMES = {
    NameOID.COUNTRY_NAME: "C",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.LOCALITY_NAME: "L",
    NameOID.COMMON_NAME: "CN",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.DOMAIN_COMPONENT: "DC",
    NameOID.TITLE: "title",
    NameOID.SURNAME: "SN",
    NameOID.GIVEN_NAME: "GN",
    NameOID.DN_QUALIFIER: "dnQualifier",
    NameOID.USER_ID: "UID",
}
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,18})){1,20}", re.ASCII)
_VALUE = re.compile(r"[\w .:/=+@-]{1,256}")  # of a session tag


def checked(field: str, given: Iterable[str]) -> list[str]:
    """The specifiers of a field in their usual spelling, each once. Raises ValidationException for one that maps nothing."""
    found = list(dict.fromkeys(_usual(field, specifier) for specifier in given))
    if len(found) > MAX_RULES:
        raise ValidationException(f"The field {field} has at most {MAX_RULES} mapping rules.")
    return found


def to_api(rules: Rules) -> list[dict[str, object]]:
    """Rules as members of a profile, by field."""
    return [
        {"certificateField": field, "mappingRules": [{"specifier": specifier} for specifier in rules[field]]}
        for field in FIELDS
        if field in rules
    ]


def session_tags(certificate: x509.Certificate, role: str, rules: Rules) -> dict[str, str]:
    """`x509Subject/CN` and the like. Raises AccessDeniedException for what no tag can say."""
    found: dict[str, str] = {}
    unfit: dict[str, list[str]] = {"Issuer": [], "Subject": [], "SAN": []}
    for title, field in _TITLES.items():
        specifiers = rules.get(field, ())
        for name, value in _values(certificate, field, specifiers).items():
            if _VALUE.fullmatch(value):
                found[f"{field}/{name}"] = value
            else:
                unfit[title].append(name)
    if any(unfit.values()):
        kinds = "; ".join(f"{title}: [ {', '.join(names)} ]" for title, names in unfit.items())
        raise AccessDeniedException(
            f"Unable to assume role for {role}. Some attributes failed to be mapped into session tags. {kinds}"
        )
    return found


def _usual(field: str, given: str) -> str:
    if field != _SAN:
        if given == "*" or given in _NAMES.values() or _OID.fullmatch(given):
            return given
        raise ValidationException(
            f"{given!r} is not a specifier of {field}. Known are *, {', '.join(_NAMES.values())}, and object identifiers such as 2.5.4.97."
        )
    if given in ("DNS", "URI"):
        return given
    if given in ("Name", "Name/"):
        return "Name/*"
    kind, _, attribute = given.partition("/")
    if kind != "Name":
        raise ValidationException(
            f"{given!r} is not a specifier of {field}. Known are DNS, URI, Name/*, and Name/ with the name of an attribute, such as Name/CN."
        )
    return f"Name/{_usual(_SUBJECT, attribute)}"


def _values(certificate: x509.Certificate, field: str, specifiers: Sequence[str]) -> dict[str, str]:
    if field == _SUBJECT:
        return _attributes(certificate.subject, specifiers)
    if field == _ISSUER:
        return _attributes(certificate.issuer, specifiers)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return {}
    found: dict[str, str] = {}
    for kind, values in (
        ("DNS", names.get_values_for_type(x509.DNSName)),
        ("URI", names.get_values_for_type(x509.UniformResourceIdentifier)),
    ):
        if kind in specifiers:
            found |= {kind if number == 1 else f"{kind}/{number}": value for number, value in enumerate(values, 1)}
    wanted = [specifier.removeprefix("Name/") for specifier in specifiers if specifier.startswith("Name/")]
    for directory in names.get_values_for_type(x509.DirectoryName)[:1]:
        found |= {f"Name/{name}": value for name, value in _attributes(directory, wanted).items()}
    return found


def _attributes(name: x509.Name, specifiers: Sequence[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for attribute in name:
        if not isinstance(attribute.value, str):
            continue
        known, number = _NAMES.get(attribute.oid, ""), attribute.oid.dotted_string
        if known and ("*" in specifiers or known in specifiers):
            found.setdefault(known, []).append(attribute.value)
        if number in specifiers:
            found.setdefault(number, []).append(attribute.value)
    return {key: "/".join(values) for key, values in found.items()}
