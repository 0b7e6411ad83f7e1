"""Signed specifications: vectors made by openssl and the cryptography package, and everything that must not pass."""

import base64
import hashlib
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from command_service_stub import make_signer, seal
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_agent import cms, signature

CONTENT = b'{"DeploymentId":"d-1"}' * 5
NOW = datetime.now(UTC)


USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
USAGES += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
CODE_SIGNING = (ExtendedKeyUsageOID.CODE_SIGNING,)


def usage(*names):
    return x509.KeyUsage(**{name: name in names for name in USAGES})


def certificate(
    key,
    name,
    issuer_key=None,
    issuer=None,
    *,
    authority=False,
    days=30,
    path_length=None,
    may=("digital_signature",),
    purposes=CODE_SIGNING,
    extension=None,
):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=60))
        .not_valid_after(NOW + timedelta(days=days))
    )
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    elif issuer is not None:
        if may is not None:
            builder = builder.add_extension(usage(*may), critical=True)
        if purposes is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if authority and may == ():
        builder = builder.add_extension(usage("digital_signature"), critical=True)
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(issuer_key or key, hashes.SHA256())


def pem(*certificates):
    return "".join(each.public_bytes(serialization.Encoding.PEM).decode() for each in certificates)


def signed(key, cert, *more, options=(), digest=None):
    builder = pkcs7.PKCS7SignatureBuilder().set_data(CONTENT).add_signer(cert, key, digest or hashes.SHA256())
    for each in more:
        builder = builder.add_certificate(each)
    return builder.sign(serialization.Encoding.PEM, [pkcs7.PKCS7Options.Binary, *options]).decode()


KEYS = {
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "p-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p-384": lambda: ec.generate_private_key(ec.SECP384R1()),
}


@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()], ids=lambda each: each.name)
@pytest.mark.parametrize("kind", KEYS)
def test_what_the_cryptography_package_signs(kind, digest):
    key = KEYS[kind]()
    cert = certificate(key, "signer")
    for options in ((), (pkcs7.PKCS7Options.NoAttributes,)):
        assert cms.open_envelope(signed(key, cert, options=options, digest=digest)) == CONTENT


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
@pytest.mark.parametrize("extra", [[], ["-noattr"], ["-stream"], ["-md", "sha1"], ["-md", "sha512"]], ids=str)
@pytest.mark.parametrize("kind", ["rsa:2048", "ec"])
def test_what_openssl_signs(tmp_path, kind, extra):
    options = ["-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else []
    make = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        kind,
        *options,
        "-keyout",
        "key",
        "-out",
        "cert",
        "-subj",
        "/CN=x",
    ]
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "content").write_bytes(CONTENT)
    sign = [
        "openssl",
        "smime",
        "-sign",
        "-nodetach",
        "-binary",
        "-outform",
        "PEM",
        "-signer",
        "cert",
        "-inkey",
        "key",
        "-in",
        "content",
    ]
    done = subprocess.run([*sign, *extra], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert cms.open_envelope(done.stdout) == CONTENT


def data_of(text):
    return base64.b64decode("".join(text.strip().split("\n")[1:-1]))


def text_of(data):
    return "-----BEGIN PKCS7-----\n" + base64.b64encode(data).decode() + "\n-----END PKCS7-----\n"


RSA_KEY, RSA_CERT = make_signer()
ENVELOPE = seal(CONTENT, (RSA_KEY, RSA_CERT))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_an_altered_envelope_never_yields_other_content(data):
    raw = bytearray(data_of(ENVELOPE))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw)))]
    try:
        assert cms.open_envelope(text_of(bytes(raw))) == CONTENT  # a byte that the signature does not cover
    except cms.EnvelopeInvalid as error:
        assert str(error)  # noqa: PT017 - or it was accepted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "-----BEGIN PKCS7-----\n%%%\n-----END PKCS7-----",
        text_of(b""),
        text_of(b"\x30\x80" * 100),
        ENVELOPE + ENVELOPE,
    ],
)
def test_what_is_no_envelope(text):
    with pytest.raises(cms.EnvelopeInvalid):
        cms.open_envelope(text)


def test_altered_content_is_reported_as_a_digest_failure():
    raw = data_of(ENVELOPE)
    with pytest.raises(cms.EnvelopeInvalid, match="digest failure"):
        cms.open_envelope(text_of(raw.replace(b"d-1", b"d-2")))


def test_a_detached_signature_has_no_content():
    key, cert = RSA_KEY, RSA_CERT
    with pytest.raises(cms.EnvelopeInvalid, match="no content attached"):
        cms.open_envelope(signed(key, cert, options=(pkcs7.PKCS7Options.DetachedSignature,)))


def test_a_pinned_signer_or_its_authority():
    root_key, middle_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = certificate(root_key, "root", authority=True)
    middle = certificate(middle_key, "middle", root_key, root, authority=True)
    leaf = certificate(key, "leaf", middle_key, middle)
    pinned = cms.certificates_of_pem(pem(root))
    assert cms.open_envelope(signed(key, leaf, middle), pinned) == CONTENT
    assert cms.open_envelope(signed(key, leaf), cms.certificates_of_pem(pem(leaf))) == CONTENT
    assert cms.open_envelope(signed(key, leaf), cms.certificates_of_pem(pem(middle))) == CONTENT
    other = certificate(middle_key, "other", authority=True)
    for several in ((leaf, other), (other, leaf), (other, middle)):
        assert cms.open_envelope(signed(key, leaf), cms.certificates_of_pem("".join(map(pem, several)))) == CONTENT
    with pytest.raises(cms.EnvelopeInvalid, match="no chain leads to it"):
        cms.open_envelope(signed(key, leaf), pinned)  # the middle one is not there


def test_chains_that_must_not_hold():
    root_key, key, other_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = certificate(root_key, "root", authority=True)
    pinned = cms.certificates_of_pem(pem(root))
    not_an_authority = certificate(key, "middle", root_key, root)
    below = certificate(other_key, "below", key, not_an_authority)
    with pytest.raises(cms.EnvelopeInvalid, match="no chain"):
        cms.open_envelope(signed(other_key, below, not_an_authority), pinned)
    impostor = certificate(other_key, "root", authority=True)
    forged = certificate(key, "leaf", other_key, impostor)
    with pytest.raises(cms.EnvelopeInvalid, match="no chain"):
        cms.open_envelope(signed(key, forged, impostor), pinned)
    expired = certificate(key, "leaf", root_key, root, days=-1)
    with pytest.raises(cms.EnvelopeInvalid, match="not valid now"):
        cms.open_envelope(signed(key, expired), pinned)


SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
LEAVES = {
    "a web server's": ({"purposes": SERVER}, "lacks the extended key usage codeSigning"),
    "one for anything": ({"purposes": None}, "lacks the extended key usage codeSigning"),
    "one that only encrypts": ({"may": ("key_encipherment",)}, "lacks the key usage digitalSignature"),
    "one without a usage": ({"may": None}, "lacks the key usage digitalSignature"),
    "an authority's": ({"authority": True}, "that of an authority"),
    "one with unknown demands": ({"extension": UNKNOWN}, "not understood"),
}


@pytest.mark.parametrize("case", LEAVES)
def test_what_a_pinned_authority_issued_for_something_else_signs_nothing(case):
    changes, sentence = LEAVES[case]
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate(root_key, "root", authority=True)
    leaf = certificate(key, "leaf", root_key, root, **changes)
    with pytest.raises(cms.EnvelopeInvalid, match=sentence):
        cms.open_envelope(signed(key, leaf), cms.certificates_of_pem(pem(root)))


@pytest.mark.parametrize("limit", [{"path_length": 0}, {"may": ()}], ids=["path length", "no key for certificates"])
def test_an_authority_that_may_not_make_authorities(limit):
    root_key, middle_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = certificate(root_key, "root", authority=True, **limit)
    middle = certificate(middle_key, "middle", root_key, root, authority=True)
    leaf = certificate(key, "leaf", middle_key, middle)
    with pytest.raises(cms.EnvelopeInvalid, match="no chain"):
        cms.open_envelope(signed(key, leaf, middle), cms.certificates_of_pem(pem(root)))


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 255))
def test_ecdsa_against_the_cryptography_package(message, flip):
    for curve, ours in ((ec.SECP256R1(), signature.P256), (ec.SECP384R1(), signature.P384)):
        private = ec.generate_private_key(curve)
        numbers = private.public_key().public_numbers()
        key = signature.EcKey(ours, numbers.x, numbers.y)
        r, s = utils.decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256())))
        assert signature.verify(key, "sha256", message, b"", (r, s))
        assert signature.verify(key, "sha256", message, b"", (r, ours.n - s))
        assert not signature.verify(key, "sha256", message + b"x", b"", (r, s))
        assert not signature.verify(key, "sha256", message, b"", (r ^ (1 << flip), s))
        for pair in ((0, s), (r, 0), (r, ours.n), (ours.n + r, s), (-r, s)):
            assert not signature.verify(key, "sha256", message, b"", pair)
        assert not signature.verify(key._replace(y=key.y ^ 1), "sha256", message, b"", (r, s))


def test_rsa_padding_is_compared_whole():
    private = rsa.generate_private_key(3, 2048)
    numbers = private.public_key().public_numbers()
    key = signature.RsaKey(numbers.n, numbers.e)
    message = b"m"
    good = private.sign(message, padding.PKCS1v15(), hashes.SHA256())
    assert signature.verify(key, "sha256", message, good, None)
    assert not signature.verify(key, "sha1", message, good, None)
    assert not signature.verify(key, "sha256", message, b"\0" + good, None)
    assert not signature.verify(
        key, "sha256", message, (int.from_bytes(good, "big") + numbers.n).to_bytes(257, "big"), None
    )
    # The forgery of 2006: a short padding, the digest, and rubbish that makes the whole a cube.
    import hashlib

    head = (
        b"\x00\x01"
        + b"\xff" * 8
        + b"\x00"
        + bytes.fromhex("3031300d060960864801650304020105000420")
        + hashlib.sha256(message).digest()
    )
    target = int.from_bytes(head.ljust(256, b"\0"), "big")
    root = round_root(target) + 1
    assert not signature.verify(key, "sha256", message, root.to_bytes(256, "big"), None)
    assert not signature.verify(signature.RsaKey(numbers.n, 1), "sha256", message, good, None)


def round_root(value):
    low, high = 0, 1 << 700
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= value else (low, middle - 1)
    return low


# --- what is no signed data, piece by piece ---------------------------------------------------------------------------


def der(tag, *parts):
    body = b"".join(parts)
    length = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([tag]) + length + body


SIGNED_DATA = der(0x06, bytes.fromhex("2a864886f70d010702"))
PLAIN_DATA = der(0x06, bytes.fromhex("2a864886f70d010701"))
SHA256 = der(0x30, der(0x06, bytes.fromhex("608648016503040201")))
ENCAPSULATED = der(0x30, PLAIN_DATA, der(0xA0, der(0x04, b"x")))
VERSION = der(0x02, b"\x01")


def of_signers(*signers):
    """An envelope of some content with these signers."""
    data = der(0x30, VERSION, der(0x31), ENCAPSULATED, der(0x31, *signers))
    return text_of(der(0x30, SIGNED_DATA, der(0xA0, data)))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "the signed data is cut short"),
        (b"\x30", "the signed data is cut short"),
        (b"\x04\x01", "the signed data is cut short"),
        (b"\x04\x82\x01", "the signed data is cut short"),
        (b"\x04\x85\x00\x00\x00\x00\x01a", "the signed data is cut short"),
        (b"\x30\x03\x04\x02a", "the signed data is cut short"),
        (b"\x1f\x00", "the signed data has a tag number beyond 30"),
        (b"\x04\x80\x00\x00", "the signed data has an indefinite length on a primitive element"),
        (b"\x04\x00\x00", "bytes follow after the signed data"),
        (b"\x30\x80" * 42 + b"\x00\x00" * 42, "the signed data is nested too deep"),
    ],
)
def test_what_is_no_element(raw, said):
    with pytest.raises(cms.EnvelopeInvalid) as refused:
        cms.parse(raw)
    assert str(refused.value) == said


def test_as_deep_as_it_may_be():
    assert cms.parse(b"\x30\x80" * 41 + b"\x00\x00" * 41).tag == 0x30


@pytest.mark.parametrize("raw", [b"\x04\x01a", b"\x04\x81\x01a", b"\x04\x84\x00\x00\x00\x01a"])
def test_every_width_of_a_length(raw):
    assert cms.parse(raw).value == b"a"
    assert cms.parse(b"\x30\x80" + raw + b"\x00\x00").children[0].value == b"a"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the envelope is not one PEM block of PKCS7"),
        (ENVELOPE + ENVELOPE, "the envelope is not one PEM block of PKCS7"),
        ("-----BEGIN PKCS7-----\n%%%\n-----END PKCS7-----", "the envelope is not base64"),
        (text_of(der(0x30)), "the signed data lacks a field"),
        (text_of(der(0x30, VERSION)), "the signed data lacks an object identifier"),
        (text_of(der(0x30, der(0x06))), "the signed data lacks an object identifier"),
        (text_of(der(0x30, der(0x06, b"\x2a\x80"))), "the signed data lacks an object identifier"),
        (text_of(der(0x30, PLAIN_DATA)), "the envelope is not signed data"),
        (text_of(der(0x30, SIGNED_DATA, der(0xA0, der(0x30, VERSION, VERSION, der(0x30, PLAIN_DATA))))), "the envelope has no content attached"),
        (text_of(der(0x30, SIGNED_DATA, der(0xA0, der(0x30, VERSION, VERSION, der(0x30, PLAIN_DATA, der(0xA0, VERSION)))))), "the signed data lacks an octet string"),
        (of_signers(), "the envelope must have exactly one signer"),
        (of_signers(der(0x30), der(0x30)), "the envelope must have exactly one signer"),
        (of_signers(der(0x30, VERSION)), "the signer lacks a field"),
        (of_signers(der(0x30, VERSION, VERSION, der(0x30, PLAIN_DATA), VERSION, VERSION)), "the signature uses a digest other than SHA-1, SHA-256, SHA-384 and SHA-512"),
        (of_signers(der(0x30, VERSION, VERSION, SHA256, der(0xA0), VERSION)), "the content is not what was signed (digest failure)"),
        (of_signers(der(0x30, VERSION, VERSION, SHA256, VERSION, VERSION)), "the signed data lacks an octet string"),
        (of_signers(der(0x30, VERSION, der(0x30, der(0x30), VERSION), SHA256, VERSION, der(0x04, b"x"))), "the envelope does not hold its signer's certificate"),
    ],
)  # fmt: skip
def test_what_an_envelope_lacks(text, said):
    with pytest.raises(cms.EnvelopeInvalid) as refused:
        cms.open_envelope(text)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (der(0x30), "the signed data lacks a field"),
        (der(0x30, der(0x30, VERSION)), "the certificate lacks a field"),
        (der(0x30, der(0x30, *[der(0x30, VERSION, VERSION)] * 6)), "the signed data lacks a number"),
        (
            der(0x30, der(0x30, VERSION, *[der(0x30, VERSION, VERSION)] * 5)),
            "the certificate's validity cannot be read",
        ),
    ],
)
def test_what_a_certificate_lacks(raw, said):
    with pytest.raises(cms.EnvelopeInvalid) as refused:
        cms.certificate(cms.parse(raw))
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (lambda: ec.generate_private_key(ec.SECP521R1()), "the certificate's key is on a curve other than P-256 and P-384"),
        (ed25519.Ed25519PrivateKey.generate, "the certificate's key is neither RSA nor ECDSA"),
    ],
)  # fmt: skip
def test_keys_that_sign_nothing_here(key, said):
    own = key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(own.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    digest = None if isinstance(own, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    with pytest.raises(cms.EnvelopeInvalid) as refused:
        cms.certificates_of_pem(pem(builder.sign(own, digest)))
    assert str(refused.value) == said


def test_a_file_without_certificates():
    with pytest.raises(cms.EnvelopeInvalid, match="^there is no certificate in PEM form$"):
        cms.certificates_of_pem("x")


def attributes(*types, digest=None):
    """Signed attributes of the content: its digest, and content types."""
    found = [der(0x30, der(0x06, bytes.fromhex("2a864886f70d010904")), der(0x31, der(0x04, digest or hashlib.sha256(b"x").digest())))]  # fmt: skip
    found += [der(0x30, der(0x06, bytes.fromhex("2a864886f70d010903")), der(0x31, each)) for each in types]
    return der(0xA0, *found)


@pytest.mark.parametrize(
    ("signed_attributes", "said"),
    [
        (attributes(PLAIN_DATA, digest=bytes(32)), "the content is not what was signed (digest failure)"),
        (attributes(), "the signed content type is another one"),
        (attributes(SIGNED_DATA), "the signed content type is another one"),
        (attributes(PLAIN_DATA), "the envelope does not hold its signer's certificate"),
    ],
)
def test_what_signed_attributes_say(signed_attributes, said):
    name = der(0x30, der(0x30), VERSION)
    text = of_signers(der(0x30, VERSION, name, SHA256, signed_attributes, VERSION, der(0x04, b"x")))
    with pytest.raises(cms.EnvelopeInvalid) as refused:
        cms.open_envelope(text)
    assert str(refused.value) == said


def test_only_critical_extensions_must_be_understood():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    for critical in (False, True):
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"x"), critical)
        (found,) = cms.certificates_of_pem(pem(builder.sign(key, hashes.SHA256())))
        assert found.unknown == ("1.2.3" if critical else "")
        assert (found.authority, found.path_length, found.usage, found.purposes) == (False, None, None, None)


def test_points_are_uncompressed():
    algorithm = der(0x30, der(0x06, bytes.fromhex("2a8648ce3d0201")), der(0x06, bytes.fromhex("2a8648ce3d030107")))
    whole = cms._public_key(cms.parse(der(0x30, algorithm, der(0x03, b"\0\4" + bytes([1]) * 32 + bytes([2]) * 32))))
    assert (whole.x, whole.y) == (int.from_bytes(bytes([1]) * 32, "big"), int.from_bytes(bytes([2]) * 32, "big"))
    for bits in (b"\0\2" + bytes(32), b"\0\4" + bytes(63), b"\0\4" + bytes(65), b"\0\3" + bytes(64)):
        with pytest.raises(cms.EnvelopeInvalid, match="^the certificate's key is not an uncompressed point$"):
            cms._public_key(cms.parse(der(0x30, algorithm, der(0x03, bits))))
