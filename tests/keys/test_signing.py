"""Keys that sign and keys of MACs: official vectors of the primitives, and the operations with boto3 and in process."""

import hashlib
import hmac

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, utils
from penstock_identity_harness import document
from penstock_keys import kms, new_key, refused

from penstock.keys import primitives
from penstock.keys.primitives import SPECS

SIGNS = [spec for spec, kind in SPECS.items() if kind.is_pair]
MACS = [spec for spec, kind in SPECS.items() if kind.mac]
QUICK = [spec for spec in SIGNS if not spec.startswith("RSA")] + ["RSA_2048"]


@pytest.mark.parametrize(
    ("algorithm", "mac"),
    [
        ("HMAC_SHA_224", "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44"),
        ("HMAC_SHA_256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        ("HMAC_SHA_384", "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"),
        ("HMAC_SHA_512", "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"),
    ],
)  # fmt: skip
def test_macs_of_rfc_4231(algorithm, mac):
    assert primitives.authenticate(b"Jefe", algorithm, b"what do ya want for nothing?").hex() == mac


def test_a_signature_of_rfc_8032():
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    private = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    signature = primitives.sign(private, "ED25519_SHA_512", b"", digest=False)
    assert signature.hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )


def test_a_signature_of_rfc_6979():
    private = ec.derive_private_key(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1())
    signature = utils.encode_dss_signature(
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    )
    assert primitives.verify(private, "ECDSA_SHA_256", b"sample", signature, digest=False)
    assert primitives.verify(private, "ECDSA_SHA_256", hashlib.sha256(b"sample").digest(), signature, digest=True)
    assert not primitives.verify(private, "ECDSA_SHA_256", b"simple", signature, digest=False)


def accepts(public, algorithm: str, message: bytes, signature: bytes) -> None:
    """As whoever has the public key and nothing of us verifies. Raises InvalidSignature."""
    if algorithm.startswith("ED25519"):
        return public.verify(signature, message)
    chosen = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}[algorithm[-3:]]()
    if algorithm.startswith("ECDSA"):
        return public.verify(signature, message, ec.ECDSA(chosen))
    scheme = (
        padding.PKCS1v15()
        if "PKCS1" in algorithm
        else padding.PSS(mgf=padding.MGF1(chosen), salt_length=chosen.digest_size)
    )
    return public.verify(signature, message, scheme, chosen)


@pytest.mark.parametrize("spec", QUICK)
def test_what_a_key_signs_is_verified_by_its_public_key(live, spec):
    client = live.client("kms")
    made = client.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    key, algorithms = made["KeyId"], list(SPECS[spec].algorithms["SIGN_VERIFY"])
    assert (made["SigningAlgorithms"], made["KeySpec"], made["KeyUsage"]) == (algorithms, spec, "SIGN_VERIFY")
    assert "EncryptionAlgorithms" not in made
    assert "CurrentKeyMaterialId" not in made
    shown = client.get_public_key(KeyId=key)
    assert (shown["KeyId"], shown["SigningAlgorithms"]) == (made["Arn"], algorithms)
    public = serialization.load_der_public_key(shown["PublicKey"])
    for algorithm in algorithms:
        said = {"KeyId": key, "SigningAlgorithm": algorithm}
        signature = client.sign(**said, Message=b"message")["Signature"]
        accepts(public, algorithm, b"message", signature)
        assert client.verify(**said, Message=b"message", Signature=signature)["SignatureValid"] is True
        if spec != "ECC_NIST_EDWARDS25519":
            digest = hashlib.new(f"sha{algorithm[-3:]}", b"message").digest()
            by_digest = client.sign(**said, Message=digest, MessageType="DIGEST")["Signature"]
            accepts(public, algorithm, b"message", by_digest)
            assert client.verify(**said, Message=digest, MessageType="DIGEST", Signature=signature)["SignatureValid"]
        for wrong in ({"Message": b"massage", "Signature": signature}, {"Message": b"message", "Signature": b"x"}):
            with pytest.raises(client.exceptions.KMSInvalidSignatureException):
                client.verify(**said, **wrong)


def test_a_large_key_is_made_beside_what_others_do(live):
    client = live.client("kms")
    made = client.create_key(KeySpec="RSA_3072", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    public = serialization.load_der_public_key(client.get_public_key(KeyId=made["KeyId"])["PublicKey"])
    assert public.key_size == 3072


@pytest.mark.parametrize("spec", MACS)
def test_macs(live, spec):
    client, algorithm = live.client("kms"), f"HMAC_SHA_{spec[-3:]}"
    made = client.create_key(KeySpec=spec, KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]
    assert made["MacAlgorithms"] == [algorithm]
    said = {"KeyId": made["KeyId"], "MacAlgorithm": algorithm}
    mac = client.generate_mac(**said, Message=b"message")["Mac"]
    assert len(mac) * 8 == int(spec[-3:])
    assert client.generate_mac(**said, Message=b"message")["Mac"] == mac
    assert client.verify_mac(**said, Message=b"message", Mac=mac)["MacValid"] is True
    for wrong in ({"Message": b"massage", "Mac": mac}, {"Message": b"message", "Mac": mac[:-1]}):
        with pytest.raises(client.exceptions.KMSInvalidMacException):
            client.verify_mac(**said, **wrong)


def test_a_mac_key_is_as_long_as_its_hash():
    assert [len(primitives.new_secret(spec)) for spec in MACS] == [28, 32, 48, 64]
    secret = primitives.new_secret("HMAC_384")
    assert primitives.authenticate(secret, "HMAC_SHA_384", b"m") == hmac.digest(secret, b"m", "sha384")


@pytest.mark.parametrize(
    ("input", "code"),
    [
        ({"KeySpec": "ECC_NIST_P256"}, "ValidationException"),
        ({"KeySpec": "HMAC_256", "KeyUsage": "SIGN_VERIFY"}, "ValidationException"),
        ({"KeySpec": "ECC_NIST_P256", "KeyUsage": "KEY_AGREEMENT"}, "ValidationException"),
        ({"KeyUsage": "SIGN_VERIFY"}, "ValidationException"),
        ({"KeySpec": "ECC_NIST_P256", "KeyUsage": "ENCRYPT_DECRYPT"}, "ValidationException"),
        ({"KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY"}, "UnsupportedOperationException"),
        ({"KeySpec": "ML_DSA_44", "KeyUsage": "SIGN_VERIFY"}, "UnsupportedOperationException"),
    ],
)
async def test_keys_that_are_not_made(harness, owner, input, code):
    assert (await refused(kms(harness, owner, "CreateKey", **input)))[0] == code
    assert (await kms(harness, owner, "ListKeys"))["Keys"] == []


async def test_a_key_is_used_for_what_it_is_made_for(harness, owner, key):
    pair = await new_key(harness, owner, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    mac = await new_key(harness, owner, KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    sign = {"Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}
    authenticate = {"Message": b"m", "MacAlgorithm": "HMAC_SHA_256"}
    for use, code in (
        (kms(harness, owner, "Encrypt", KeyId=pair, Plaintext=b"s"), "InvalidKeyUsageException"),
        (kms(harness, owner, "GenerateDataKey", KeyId=mac, NumberOfBytes=8), "InvalidKeyUsageException"),
        (kms(harness, owner, "Sign", KeyId=key, **sign), "InvalidKeyUsageException"),
        (kms(harness, owner, "Sign", KeyId=mac, **sign), "InvalidKeyUsageException"),
        (kms(harness, owner, "GenerateMac", KeyId=pair, **authenticate), "InvalidKeyUsageException"),
        (kms(harness, owner, "GetPublicKey", KeyId=key), "UnsupportedOperationException"),
        (kms(harness, owner, "GetPublicKey", KeyId=mac), "UnsupportedOperationException"),
        (kms(harness, owner, "Sign", KeyId=pair, Message=b"m", SigningAlgorithm="ECDSA_SHA_384"), "InvalidKeyUsageException"),
        (kms(harness, owner, "GenerateMac", KeyId=mac, Message=b"m", MacAlgorithm="HMAC_SHA_512"), "InvalidKeyUsageException"),
        (kms(harness, owner, "Sign", KeyId=pair, **sign, MessageType="DIGEST"), "ValidationException"),
        (kms(harness, owner, "Sign", KeyId=pair, **sign, MessageType="EXTERNAL_MU"), "UnsupportedOperationException"),
        (kms(harness, owner, "Sign", KeyId=pair, **sign, DryRun=True), "DryRunOperationException"),
        (kms(harness, owner, "GenerateMac", KeyId=mac, **authenticate, DryRun=True), "DryRunOperationException"),
        (kms(harness, owner, "EnableKeyRotation", KeyId=pair), "UnsupportedOperationException"),
        (kms(harness, owner, "RotateKeyOnDemand", KeyId=mac), "UnsupportedOperationException"),
        (kms(harness, owner, "GetKeyRotationStatus", KeyId=pair), "UnsupportedOperationException"),
    ):  # fmt: skip
        assert (await refused(use))[0] == code
    assert (await refused(kms(harness, owner, "Encrypt", KeyId=pair, Plaintext=b"s")))[1] == (
        f"{pair} key usage is SIGN_VERIFY which is not valid for Encrypt."
    )
    await kms(harness, owner, "DisableKey", KeyId=pair)
    for operation, more in (("Sign", sign), ("Verify", {**sign, "Signature": b"x"}), ("GetPublicKey", {})):
        assert (await refused(kms(harness, owner, operation, KeyId=pair, **more)))[0] == "DisabledException"


async def test_the_secret_of_a_pair_rests_sealed(harness, owner):
    from penstock.keys import records

    pair = await new_key(harness, owner, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    public = (await kms(harness, owner, "GetPublicKey", KeyId=pair))["PublicKey"]
    row = await harness.app.store.read(records.material, pair.rpartition("/")[2], 1)
    assert public[-65:] not in row.sealed
    assert b"\x06\x07*\x86H\xce=\x02\x01" not in row.sealed


async def test_grants_of_keys_that_sign(harness, owner):
    pair = await new_key(harness, owner, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    ann = await harness.user("ann")
    asked = {"KeyId": pair, "GranteePrincipal": ann.arn}
    for wrong in (
        {"Operations": ["Encrypt"]},
        {"Operations": ["GenerateMac"]},
        {"Operations": ["Sign"], "Constraints": {"EncryptionContextEquals": {"a": "b"}}},
    ):
        assert (await refused(kms(harness, owner, "CreateGrant", **asked, **wrong)))[0] == "ValidationException"
    await kms(harness, owner, "CreateGrant", **asked, Operations=["Sign"])
    await kms(harness, ann, "Sign", KeyId=pair, Message=b"m", SigningAlgorithm="ECDSA_SHA_256")
    assert (await refused(kms(harness, ann, "GetPublicKey", KeyId=pair)))[0] == "AccessDenied"


async def test_policies_may_ask_for_the_algorithm_and_the_kind_of_message(harness, owner):
    asked = {"StringEquals": {"kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "DIGEST"}}
    ann = await harness.user(
        "ann", document({"Effect": "Allow", "Action": "kms:Sign", "Resource": "*", "Condition": asked})
    )
    pair = await new_key(harness, owner, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    said = {"KeyId": pair, "Message": b"d" * 32, "SigningAlgorithm": "ECDSA_SHA_256"}
    await kms(harness, ann, "Sign", **said, MessageType="DIGEST")
    assert (await refused(kms(harness, ann, "Sign", **said)))[0] == "AccessDenied"


def test_what_does_not_verify_is_a_client_error(live):
    client = live.client("kms")
    key = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    with pytest.raises(ClientError) as caught:
        client.verify(KeyId=key, Message=b"m", Signature=b"\x30\x00", SigningAlgorithm="ECDSA_SHA_256")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
