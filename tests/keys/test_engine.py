"""What a key may do in its state, day by day: each rule, and each of its limits."""

import re
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from penstock.keys import engine, primitives
from penstock.keys.engine import DAY_MS, Need, State
from penstock.wire.errors import ServiceError

ARN = "arn:aws:kms:us-east-1:111111111111:key/1"


def key(**members):
    given = {
        "arn": ARN, "state": "Enabled", "usage": "ENCRYPT_DECRYPT", "spec": "SYMMETRIC_DEFAULT", "manager": "", "deletion": None,
        "rotation_due": None, "rotation_days": 365,
    }  # fmt: skip
    return SimpleNamespace(**given | members)


def refused(code, message):
    class Refusal:
        def __enter__(self):
            self.raised = pytest.raises(ServiceError, match=f"^{re.escape(message)}$")
            self.caught = self.raised.__enter__()

        def __exit__(self, *error):
            passed = self.raised.__exit__(*error)
            assert self.caught.value.wire_code == code
            return passed

    return Refusal()


@pytest.mark.parametrize(
    ("state", "need", "code"),
    [
        *[("Enabled", need, "") for need in Need],
        ("Disabled", Need.ANY, ""), ("Disabled", Need.KEPT, ""), ("Disabled", Need.USABLE, "DisabledException"),
        ("PendingDeletion", Need.ANY, ""), ("PendingDeletion", Need.KEPT, "KMSInvalidStateException"),
        ("PendingDeletion", Need.USABLE, "KMSInvalidStateException"),
    ],
)  # fmt: skip
def test_what_a_key_can_do_in_a_state(state, need, code):
    if not code:
        engine.check(key(state=state), need)
        return
    with refused(code, f"{ARN} is {'disabled' if state == 'Disabled' else 'pending deletion'}."):
        engine.check(key(state=state), need)


@pytest.mark.parametrize("operation", ["Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "GenerateDataKeyPair", "Sign", "Verify", "GenerateMac", "VerifyMac"])  # fmt: skip
@pytest.mark.parametrize("usage", ["ENCRYPT_DECRYPT", "SIGN_VERIFY", "GENERATE_VERIFY_MAC"])
def test_what_a_key_is_made_for(operation, usage):
    fits = {"Sign": "SIGN_VERIFY", "Verify": "SIGN_VERIFY", "GenerateMac": "GENERATE_VERIFY_MAC", "VerifyMac": "GENERATE_VERIFY_MAC"}  # fmt: skip
    if fits.get(operation, "ENCRYPT_DECRYPT") == usage:
        engine.check(key(usage=usage), Need.USABLE, operation)
        return
    with refused("InvalidKeyUsageException", f"{ARN} key usage is {usage} which is not valid for {operation}."):
        engine.check(key(usage=usage), Need.USABLE, operation)


def test_a_key_goes_on_its_day_unless_it_stays():
    assert (engine.DAY_MS, engine.WINDOW_DAYS, engine.ROTATION_DAYS) == (86_400_000, (7, 30), 365)
    assert engine.schedule(key(), 7, 1_000) == engine.Deletion(1_000 + 7 * 86_400_000, 7)
    assert engine.schedule(key(state="Disabled"), 30, 0).due == 30 * 86_400_000
    going = key(state="PendingDeletion", deletion=5_000)
    with refused("KMSInvalidStateException", f"{ARN} is pending deletion."):
        engine.schedule(going, 7, 0)
    assert engine.cancel(going) is State.DISABLED
    for state in ("Enabled", "Disabled"):
        with refused("KMSInvalidStateException", f"{ARN} is not pending deletion."):
            engine.cancel(key(state=state))
    assert [engine.is_due(going, now) for now in (4_999, 5_000, 5_001)] == [False, True, True]
    assert not engine.is_due(key(deletion=5_000), 5_000)
    assert not engine.is_due(key(state="PendingDeletion"), 5_000)


def test_which_keys_are_rotated_and_when():
    engine.check_rotated(key(), changed=True)
    engine.check_rotated(key(manager="AWS"), changed=False)
    with refused("UnsupportedOperationException", f"{ARN} is an AWS managed key: it is rotated every year by itself."):
        engine.check_rotated(key(manager="AWS"), changed=True)
    with refused(
        "UnsupportedOperationException", f"{ARN} is a key of the spec RSA_2048: only symmetric keys are rotated."
    ):
        engine.check_rotated(key(spec="RSA_2048"), changed=False)
    engine.check_on_demand(key(), 24)
    with refused("LimitExceededException", f"The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: {ARN}"):  # fmt: skip
        engine.check_on_demand(key(), 25)
    assert engine.is_rotated(key(rotation_due=1))
    assert engine.is_rotated(key(rotation_due=1, state="Disabled"))
    assert not engine.is_rotated(key())
    assert not engine.is_rotated(key(rotation_due=1, state="PendingDeletion"))


def test_the_next_rotation_is_a_period_after_the_last_that_was_due():
    """After a long silence, a period from now: what was missed is not made up for."""
    due = key(rotation_due=1_000, rotation_days=90)
    period = 90 * DAY_MS
    assert engine.rotation_after(due, 1_500) == 1_000 + period
    assert engine.rotation_after(due, 1_000 + period - 1) == 1_000 + period
    assert engine.rotation_after(due, 1_000 + period) == 1_000 + 2 * period
    assert [engine.is_rotation_due(due, 1_000, now) for now in (999, 1_000, 1_001)] == [False, True, True]
    assert not engine.is_rotation_due(due, 999, 1_000)
    for state in ("Disabled", "PendingDeletion"):
        assert not engine.is_rotation_due(key(rotation_due=1_000, state=state), 1_000, 1_000)


def test_what_a_new_key_is_for():
    assert primitives.check_new("SYMMETRIC_DEFAULT", None) == "ENCRYPT_DECRYPT"
    assert primitives.check_new("RSA_2048", "SIGN_VERIFY") == "SIGN_VERIFY"
    with refused("ValidationException", "KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT"):
        primitives.check_new("SYMMETRIC_DEFAULT", "SIGN_VERIFY")
    with refused("ValidationException", "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."):  # fmt: skip
        primitives.check_new("HMAC_256", None)
    with pytest.raises(ServiceError, match=r"^Keys of the spec SM2 are not served here\. Choose one of SYMMETRIC_DEFAULT, RSA_2048, "):  # fmt: skip
        primitives.check_new("SM2", "SIGN_VERIFY")


@pytest.mark.parametrize(
    ("algorithm", "size"),
    [("RSASSA_PSS_SHA_256", 32), ("RSASSA_PKCS1_V1_5_SHA_384", 48), ("ECDSA_SHA_512", 64), ("ED25519_SHA_512", None)],
)
def test_a_digest_is_as_long_as_its_algorithms(algorithm, size):
    primitives.check_message(algorithm, b"any length", digest=False)
    if size is None:
        with refused("ValidationException", f"Algorithm {algorithm} signs messages of the type RAW."):
            primitives.check_message(algorithm, bytes(64), digest=True)
        return
    primitives.check_message(algorithm, bytes(size), digest=True)
    for wrong in (size - 1, size + 1):
        with refused("ValidationException", f"Digest is invalid length for algorithm {algorithm}."):
            primitives.check_message(algorithm, bytes(wrong), digest=True)


def test_an_algorithm_is_one_of_the_key():
    primitives.check_algorithm(key(spec="ECC_NIST_P256", usage="SIGN_VERIFY"), "ECDSA_SHA_256")
    with refused("InvalidKeyUsageException", "Algorithm ECDSA_SHA_384 and key spec ECC_NIST_P256 are incompatible. The key takes ECDSA_SHA_256."):  # fmt: skip
        primitives.check_algorithm(key(spec="ECC_NIST_P256", usage="SIGN_VERIFY"), "ECDSA_SHA_384")


@pytest.mark.parametrize(("algorithm", "most"), [("RSAES_OAEP_SHA_1", 214), ("RSAES_OAEP_SHA_256", 190)])
def test_how_much_a_pair_encrypts(algorithm, most):
    """RFC 8017, section 7.1.1, with a key of 256 bytes."""
    private = rsa.generate_private_key(65537, 2048)
    sealed = primitives.encrypt(private, algorithm, b"x" * most)
    assert len(sealed) == 256
    assert primitives.decrypt(private, algorithm, sealed) == b"x" * most
    with pytest.raises(ServiceError) as refused:
        primitives.encrypt(private, algorithm, b"x" * (most + 1))
    assert refused.value.message == (
        f"The plaintext has {most + 1} bytes: with {algorithm} a key of 2048 bits encrypts {most} at most. Encrypt more with a data key."
    )
