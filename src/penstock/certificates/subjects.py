"""Who the holder of a certificate is: the source identity and the name of its sessions (AWS: IAM Roles Anywhere, "Source identity rules")."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.x509.oid import NameOID

from penstock.certificates.errors import AccessDeniedException

_IDENTITY = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)  # STS: SourceIdentity
_PREFIXED = 61  # characters of a common name that leave room for what is before it


def source_identity(certificate: x509.Certificate) -> str:
    """`CN=` and the common name, which stands alone when it is long; `ID=` and the serial number of a subject that has none.

    Raises AccessDeniedException for a common name that sessions cannot bear.
    """
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names:
        return f"ID={serial_of(certificate)}"
    name = str(names[0].value)
    identity = f"CN={name}" if len(name) <= _PREFIXED else name
    if not name or not _IDENTITY.fullmatch(identity):
        raise AccessDeniedException(
            "The common name of the certificate's subject cannot be the source identity of a session: it has 1 to 64 letters, digits"
            " and characters of +=,.@-_."
        )
    return identity


def serial_of(certificate: x509.Certificate) -> str:
    """The serial number, two hexadecimal digits for each byte."""
    digits = f"{certificate.serial_number:x}"
    return digits if len(digits) % 2 == 0 else f"0{digits}"
