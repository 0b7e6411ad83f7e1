"""What a session has from a certificate: tags, source identity and name (AWS: IAM Roles Anywhere, "Trust model")."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cryptography import x509
from cryptography.x509.oid import NameOID

from penstock.certificates.errors import AccessDeniedException

_ATTRIBUTES = {
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
}
_VALUE = re.compile(r"[\w .:/=+@-]{1,256}")  # of a session tag
_IDENTITY = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)  # STS: SourceIdentity


def session_tags(certificate: x509.Certificate, role: str) -> dict[str, str]:
    """`x509Subject/CN` and the like. Raises AccessDeniedException for what no tag can say.

    A further value of the same attribute has its number behind it: `x509SAN/DNS`, `x509SAN/DNS/2`.
    """
    found: dict[str, str] = {}
    unfit: dict[str, list[str]] = {"Issuer": [], "Subject": [], "SAN": []}
    for title, prefix, pairs in (
        ("Subject", "x509Subject", _attributes(certificate.subject)),
        ("Issuer", "x509Issuer", _attributes(certificate.issuer)),
        ("SAN", "x509SAN", _alternatives(certificate)),
    ):
        seen: dict[str, int] = {}
        for name, value in pairs:
            number = seen[name] = seen.get(name, 0) + 1
            spelt = name if number == 1 else f"{name}/{number}"
            if _VALUE.fullmatch(value):
                found[f"{prefix}/{spelt}"] = value
            else:
                unfit[title].append(spelt)
    if any(unfit.values()):
        kinds = "; ".join(f"{title}: [ {', '.join(names)} ]" for title, names in unfit.items())
        raise AccessDeniedException(
            f"Unable to assume role for {role}. Some attributes failed to be mapped into session tags. {kinds}"
        )
    return found


def source_identity(certificate: x509.Certificate) -> str:
    """The common name of the subject, or "" without one. Raises AccessDeniedException for one that sessions cannot bear."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names:
        return ""
    name = str(names[0].value)
    if not _IDENTITY.fullmatch(name):
        raise AccessDeniedException(
            "The common name of the certificate's subject cannot be the source identity of a session: it has 2 to 64 letters, digits"
            " and characters of +=,.@-_."
        )
    return name


def serial_of(certificate: x509.Certificate) -> str:
    """The serial number, two hexadecimal digits for each byte."""
    digits = f"{certificate.serial_number:x}"
    return digits if len(digits) % 2 == 0 else f"0{digits}"


def _attributes(name: x509.Name) -> Iterable[tuple[str, str]]:
    for attribute in name:
        known = _ATTRIBUTES.get(attribute.oid)
        if known is not None and isinstance(attribute.value, str):
            yield known, attribute.value


def _alternatives(certificate: x509.Certificate) -> Iterable[tuple[str, str]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for one in names:
        if isinstance(one, x509.DNSName):
            yield "DNS", one.value
        elif isinstance(one, x509.UniformResourceIdentifier):
            yield "URI", one.value
        elif isinstance(one, x509.DirectoryName):
            yield from ((f"Name/{name}", value) for name, value in _attributes(one.value))
