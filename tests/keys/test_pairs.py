"""RSA keys that decrypt, and data key pairs: official vectors of the primitive, and the operations with boto3 and in process."""

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from penstock_identity_harness import OTHER, allow, document
from penstock_keys import kms, new_key, refused

from penstock.keys import primitives
from penstock.keys.operations import rotation
from penstock.keys.vault import Vault

RSA = {"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"}
SHA_1, SHA_256 = "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"
DAY = 86_400_000


def numbers(*parts: str) -> int:
    return int("".join(parts).replace(" ", ""), 16)


def test_a_ciphertext_of_rsa_laboratories():
    """Example 1.1 of pkcs-1v2-1 vectors, oaep-vect.txt: a key of 1,024 bits, SHA-1."""
    n = numbers(
        "a8b3b284af8eb50b387034a860f146c4919f318763cd6c5598c8ae4811a1e0abc4c7e0b082d693a5e7fced675cf4668512772c0cbc64a742c6c630f533c8cc72",
        "f62ae833c40bf25842e984bb78bdbf97c0107d55bdb662f5c4e0fab9845cb5148ef7392dd3aaff93ae1e6b667bb3d4247616d4f5ba10d4cfd226de88d39f16fb",
    )
    d = numbers(
        "53339cfdb79fc8466a655c7316aca85c55fd8f6dd898fdaf119517ef4f52e8fd8e258df93fee180fa0e4ab29693cd83b152a553d4ac4d1812b8b9fa5af0e7f55",
        "fe7304df41570926f3311f15c4d65a732c483116ee3d3d2d0af3549ad9bf7cbfb78ad884f84d5beb04724dc7369b31def37d0cf539e9cfcdd3de653729ead5d1",
    )
    p, q = rsa.rsa_recover_prime_factors(n, 0x10001, d)
    made = rsa.RSAPrivateNumbers(
        p,
        q,
        d,
        rsa.rsa_crt_dmp1(d, p),
        rsa.rsa_crt_dmq1(d, q),
        rsa.rsa_crt_iqmp(p, q),
        rsa.RSAPublicNumbers(0x10001, n),
    ).private_key()
    ciphertext = bytes.fromhex(
        "354fe67b4a126d5d35fe36c777791a3f7ba13def484e2d3908aff722fad468fb21696de95d0be911c2d3174f8afcc201035f7b6d8e69402de5451618c21a535f"
        "a9d7bfc5b8dd9fc243f8cf927db31322d6e881eaa91a996170e657a05a266426d98c88003f8477c1227094a0d9fa1e8c4024309ce1ecccb5210035d47ac72e8a"
    )
    message = "6628194e12073db03ba94cda9ef9532397d50dba79b987004afefe34"
    assert (primitives.decrypt(made, SHA_1, ciphertext) or b"").hex() == message
    assert primitives.decrypt(made, SHA_256, ciphertext) is None


def oaep(algorithm):
    chosen = hashes.SHA1 if algorithm == SHA_1 else hashes.SHA256
    return padding.OAEP(padding.MGF1(chosen()), chosen(), None)


def test_what_anybody_encrypts_with_the_public_key_only_the_key_decrypts(live):
    client = live.client("kms")
    made = client.create_key(**RSA)["KeyMetadata"]
    key = made["KeyId"]
    assert (made["EncryptionAlgorithms"], made["KeyUsage"]) == ([SHA_1, SHA_256], "ENCRYPT_DECRYPT")
    assert "SigningAlgorithms" not in made
    assert "CurrentKeyMaterialId" not in made
    shown = client.get_public_key(KeyId=key)
    assert (shown["EncryptionAlgorithms"], shown["KeyUsage"]) == ([SHA_1, SHA_256], "ENCRYPT_DECRYPT")
    public = serialization.load_der_public_key(shown["PublicKey"])
    symmetric = client.create_key()["KeyMetadata"]["KeyId"]
    for algorithm, most in ((SHA_1, 214), (SHA_256, 190)):
        said = {"KeyId": key, "EncryptionAlgorithm": algorithm}
        for blob in (
            public.encrypt(b"s" * most, oaep(algorithm)),
            client.encrypt(**said, Plaintext=b"s" * most)["CiphertextBlob"],
        ):
            opened = client.decrypt(**said, CiphertextBlob=blob)
            assert (opened["Plaintext"], opened["EncryptionAlgorithm"]) == (b"s" * most, algorithm)
            assert "KeyMaterialId" not in opened
            moved = client.re_encrypt(
                CiphertextBlob=blob, SourceKeyId=key, SourceEncryptionAlgorithm=algorithm, DestinationKeyId=symmetric
            )
            assert "SourceKeyMaterialId" not in moved
            assert client.decrypt(CiphertextBlob=moved["CiphertextBlob"])["Plaintext"] == b"s" * most
            back = client.re_encrypt(
                CiphertextBlob=moved["CiphertextBlob"], DestinationKeyId=key, DestinationEncryptionAlgorithm=algorithm
            )
            assert client.decrypt(**said, CiphertextBlob=back["CiphertextBlob"])["Plaintext"] == b"s" * most
        with pytest.raises(client.exceptions.ClientError, match=f"encrypts {most} at most"):
            client.encrypt(**said, Plaintext=b"s" * (most + 1))


def test_pairs_that_nobody_keeps(live):
    client = live.client("kms")
    key = client.create_key()["KeyMetadata"]["Arn"]
    context = {"for": "test"}
    for spec in ("ECC_NIST_P256", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519", "RSA_2048"):
        said = {"KeyId": key, "KeyPairSpec": spec, "EncryptionContext": context}
        made = client.generate_data_key_pair(**said)
        assert (made["KeyId"], made["KeyPairSpec"], len(made["KeyMaterialId"])) == (key, spec, 64)
        private = serialization.load_der_private_key(made["PrivateKeyPlaintext"], None)
        assert primitives.public_key(private) == made["PublicKey"]
        opened = client.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"], EncryptionContext=context)
        assert opened["Plaintext"] == made["PrivateKeyPlaintext"]
        if not spec.startswith("RSA"):
            blind = client.generate_data_key_pair_without_plaintext(**said)
            assert "PrivateKeyPlaintext" not in blind
            opened = client.decrypt(CiphertextBlob=blind["PrivateKeyCiphertextBlob"], EncryptionContext=context)
            assert primitives.public_key(serialization.load_der_private_key(opened["Plaintext"], None)) == blind["PublicKey"]  # fmt: skip
        with pytest.raises(client.exceptions.InvalidCiphertextException):
            client.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"])


async def test_a_pair_knows_no_encryption_context(harness, owner):
    pair = await new_key(harness, owner, **RSA)
    asked = {"KeyId": pair, "EncryptionAlgorithm": SHA_256, "EncryptionContext": {"a": "b"}}
    for operation, member in (("Encrypt", "Plaintext"), ("Decrypt", "CiphertextBlob")):
        assert await refused(kms(harness, owner, operation, **asked, **{member: b"x" * 256})) == (
            "ValidationException", f"{SHA_256} knows no encryption context: leave EncryptionContext out.",
        )  # fmt: skip


async def test_what_pairs_are_refused(harness, owner, key):
    pair = await new_key(harness, owner, **RSA)
    signs = await new_key(harness, owner, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    encrypt = {"KeyId": pair, "Plaintext": b"s", "EncryptionAlgorithm": SHA_256}
    blob = (await kms(harness, owner, "Encrypt", **encrypt))["CiphertextBlob"]
    other = await new_key(harness, owner, **RSA)
    decrypt = {"CiphertextBlob": blob, "EncryptionAlgorithm": SHA_256}
    moved = {"CiphertextBlob": blob, "SourceEncryptionAlgorithm": SHA_256, "DestinationKeyId": key}
    usage, invalid = "InvalidKeyUsageException", "InvalidCiphertextException"
    for operation, input, code in (
        ("Encrypt", {"KeyId": pair, "Plaintext": b"s"}, usage),
        ("Encrypt", {**encrypt, "KeyId": key}, usage),
        ("Encrypt", {**encrypt, "KeyId": signs}, usage),
        ("Encrypt", {**encrypt, "EncryptionContext": {"a": "b"}}, "ValidationException"),
        ("Encrypt", {**encrypt, "DryRun": True}, "DryRunOperationException"),
        ("Decrypt", decrypt, "ValidationException"),
        ("Decrypt", {"CiphertextBlob": blob}, invalid),
        ("Decrypt", {"CiphertextBlob": blob, "KeyId": pair}, usage),
        ("Decrypt", {**decrypt, "KeyId": key}, usage),
        ("Decrypt", {**decrypt, "KeyId": signs}, usage),
        ("Decrypt", {**decrypt, "KeyId": other}, invalid),
        ("Decrypt", {**decrypt, "KeyId": pair, "EncryptionAlgorithm": SHA_1}, invalid),
        ("Decrypt", {**decrypt, "KeyId": pair, "CiphertextBlob": blob[:-1]}, invalid),
        ("Decrypt", {**decrypt, "KeyId": pair, "EncryptionContext": {"a": "b"}}, "ValidationException"),
        ("ReEncrypt", moved, "ValidationException"),
        ("ReEncrypt", {**moved, "SourceKeyId": pair, "DestinationKeyId": other}, usage),
        ("GenerateDataKey", {"KeyId": pair, "KeySpec": "AES_256"}, usage),
        ("Sign", {"KeyId": pair, "Message": b"m", "SigningAlgorithm": "RSASSA_PSS_SHA_256"}, usage),
        ("RotateKeyOnDemand", {"KeyId": pair}, "UnsupportedOperationException"),
        ("GenerateDataKeyPair", {"KeyId": pair, "KeyPairSpec": "ECC_NIST_P256"}, usage),
        ("GenerateDataKeyPair", {"KeyId": signs, "KeyPairSpec": "ECC_NIST_P256"}, usage),
        ("GenerateDataKeyPair", {"KeyId": key, "KeyPairSpec": "SM2"}, "UnsupportedOperationException"),
        ("GenerateDataKeyPair", {"KeyId": key, "KeyPairSpec": "ML_KEM_768"}, "UnsupportedOperationException"),
        ("GenerateDataKeyPair", {"KeyId": key, "KeyPairSpec": "RSA_4096", "DryRun": True}, "DryRunOperationException"),
        ("CreateGrant", {"KeyId": pair, "GranteePrincipal": owner.arn, "Operations": ["GenerateDataKey"]}, "ValidationException"),
    ):  # fmt: skip
        assert (await refused(kms(harness, owner, operation, **input)))[0] == code, (operation, input)


async def test_pairs_of_keys_in_other_states_and_of_strangers(harness, owner, key):
    pair = await new_key(harness, owner, **RSA)
    blob = (await kms(harness, owner, "Encrypt", KeyId=pair, Plaintext=b"s", EncryptionAlgorithm=SHA_1))[
        "CiphertextBlob"
    ]
    uses = (
        ("Encrypt", {"KeyId": pair, "Plaintext": b"s", "EncryptionAlgorithm": SHA_1}),
        ("Decrypt", {"KeyId": pair, "CiphertextBlob": blob, "EncryptionAlgorithm": SHA_1}),
        ("GetPublicKey", {"KeyId": pair}),
        ("GenerateDataKeyPair", {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"}),
        ("GenerateDataKeyPairWithoutPlaintext", {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"}),
    )
    helpless = await harness.user("ann")
    stranger = await harness.user("eve", allow("kms:*"), account=OTHER)
    bound = {"StringEquals": {"kms:EncryptionAlgorithm": SHA_256, "kms:DataKeyPairSpec": "RSA_2048"}}
    pairs = {"StringEquals": {"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT", "kms:DataKeyPairSpec": "ECC_NIST_P256"}}
    every = {"Action": "kms:*", "Resource": "*"}
    tied = await harness.user("tom", document({"Effect": "Allow", **every, "Condition": bound}))
    careful = await harness.user(
        "bea", document({"Effect": "Allow", **every}, {"Effect": "Deny", **every, "Condition": pairs})
    )
    for who in (stranger, helpless, tied):
        for operation, input in uses:
            assert (await refused(kms(harness, who, operation, **input)))[0] == "AccessDenied"
        # Not even what kind of key it is.
        asked = kms(harness, who, "Decrypt", KeyId=pair, CiphertextBlob=blob)
        assert (await refused(asked))[0] == "AccessDenied"
    for operation, input in uses[3:]:
        assert (await refused(kms(harness, careful, operation, **input)))[0] == "AccessDenied"
    for change, code in (("DisableKey", "DisabledException"), ("ScheduleKeyDeletion", "KMSInvalidStateException")):
        for one in (pair, key):
            await kms(harness, owner, change, KeyId=one)
        for operation, input in uses:
            assert (await refused(kms(harness, owner, operation, **input)))[0] == code


async def test_managed_keys_of_older_releases_rotate_too(harness, owner, clock):
    from penstock.keys import records

    for alias, age in (("alias/aws/s3", 400), ("alias/aws/ssm", 10)):
        key = (await kms(harness, owner, "DescribeKey", KeyId=alias))["KeyMetadata"]["KeyId"]
        old = {"rotation_days": None, "rotation_due": None, "created": clock.now() - age * DAY}
        await harness.app.store.write(records.change, key, **old)
    vault = Vault(harness.app)
    for _ in range(2):
        await rotation.plan_managed(vault)
    for alias, days in (("alias/aws/s3", 0), ("alias/aws/ssm", 355)):
        key = (await kms(harness, owner, "DescribeKey", KeyId=alias))["KeyMetadata"]["KeyId"]
        status = await kms(harness, owner, "GetKeyRotationStatus", KeyId=key)
        assert (status["RotationPeriodInDays"], status["NextRotationDate"]) == (365, clock.now() + days * DAY)
        due = [job for job in await jobs_of(harness, key) if job.due == status["NextRotationDate"]]
        assert len(due) == 1


async def jobs_of(harness, key):
    import sqlalchemy as sa

    from penstock.store.records import jobs

    def read(conn):
        return [row for row in conn.execute(sa.select(jobs)) if row.kind == "keys.rotate" and row.payload["key"] == key]

    return await harness.app.store.read(read)
