"""CRC-32C and CRC-64/NVME at the speed of big-integer arithmetic, for interpreters that bring only CRC-32.

A message is a polynomial over GF(2), and Python's integers shift and xor such polynomials at memory speed. For a message of
up to 2n bits, H·xⁿ + L ≡ H·r + L with r = xⁿ mod P; when r has few terms, that halves the message by a few shifts. The
exponents near every power of two whose r has the fewest terms are looked for once, at first use. What is left after the
halvings goes through the usual table.

Both CRCs are reflected (bit 0 of a byte is its highest power), begin with all ones and end inverted.
Parameters: the catalogue of parametrised CRC algorithms (CRC-32/ISCSI, CRC-64/NVME); AWS: "Checking object integrity".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

_BLOCK = 65536  # bytes folded at a time
_SMALL = 64  # bytes below which the table is quicker


@dataclass(frozen=True)
class _Fold:
    exponent: int  # n
    terms: tuple[int, ...]  # exponents of r = x^n mod P


@dataclass(frozen=True)
class _Parameters:
    width: int
    polynomial: int  # without the leading term, highest power first
    table: tuple[int, ...]  # reflected
    folds: tuple[_Fold, ...]  # by falling exponent


class Crc:
    """A running CRC with the interface of `hashlib`'s objects."""

    def __init__(self, width: int, polynomial: int) -> None:
        self._parameters = _parameters(width, polynomial)
        self._ones = (1 << width) - 1
        self._state = self._ones

    def update(self, data: bytes) -> None:
        """Take in more of the message."""
        view = memoryview(data)
        for start in range(0, len(view), _BLOCK):
            self._state = _advance(self._parameters, self._state, view[start : start + _BLOCK])

    def digest(self) -> bytes:
        """The checksum, most significant byte first, as S3 encodes it."""
        return (self._state ^ self._ones).to_bytes(self._parameters.width // 8, "big")


def crc32c() -> Crc:
    """CRC-32C (Castagnoli)."""
    return Crc(32, 0x1EDC6F41)


def crc64nvme() -> Crc:
    """CRC-64/NVME."""
    return Crc(64, 0xAD93D23594C93659)


def combine(width: int, polynomial: int, first: bytes, second: bytes, length: int) -> bytes:
    """The CRC of two messages joined: from the CRC of each and the second's length in bytes.

    The constants of start and end cancel out, so it is first·x^(8·length) + second.
    """
    shifted = _reflect(
        _multiply(
            _reflect(int.from_bytes(first, "big"), width), _power(8 * length, width, polynomial), width, polynomial
        ),
        width,
    )
    return (shifted ^ int.from_bytes(second, "big")).to_bytes(width // 8, "big")


def _advance(parameters: _Parameters, state: int, data: memoryview) -> int:
    length = len(data)
    width_bytes = parameters.width // 8
    if length >= _SMALL:
        # The state joins the first bytes of the message; from here on the message alone decides.
        message = int.from_bytes(data, "little") ^ state
        state = 0
        bits = 8 * length
        for fold in parameters.folds:
            while bits > fold.exponent + parameters.width and bits >= 8 * _SMALL:
                message, bits = _fold(message, bits, fold, parameters.width)
        data = memoryview(message.to_bytes(bits // 8, "little"))
    elif length < width_bytes:
        return _by_table(parameters, state, data)
    return _by_table(parameters, state, data)


def _fold(message: int, bits: int, fold: _Fold, width: int) -> tuple[int, int]:
    """One halving. Bit i of a message of b bits is the power b-1-i."""
    high_bits = bits - fold.exponent  # the message's highest powers: its lowest bits
    high = message & ((1 << high_bits) - 1)
    low = message >> high_bits
    reach = max(fold.exponent, high_bits + width)
    reach += -reach % 8  # whole bytes: leading zero powers change nothing
    result = low << (reach - fold.exponent)
    place = reach - high_bits
    for term in fold.terms:
        result ^= high << (place - term)
    return result, reach


def _by_table(parameters: _Parameters, state: int, data: memoryview) -> int:
    table = parameters.table
    for byte in data:
        state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state


@cache
def _parameters(width: int, polynomial: int) -> _Parameters:
    reflected = _reflect(polynomial, width)
    table: list[int] = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (reflected if value & 1 else 0)
        table.append(value)
    return _Parameters(width=width, polynomial=polynomial, table=tuple(table), folds=_find_folds(width, polynomial))


def _find_folds(width: int, polynomial: int) -> tuple[_Fold, ...]:
    top = 1 << width
    folds: list[_Fold] = []
    best, best_at, best_weight = 1, 0, width + 1
    remainder = 1
    exponent = 0
    window = 512
    while window <= _BLOCK * 4:
        # The best exponent of the upper eighth of every octave.
        while exponent < window:
            remainder <<= 1
            if remainder & top:
                remainder ^= top | polynomial
            exponent += 1
            if exponent > window - window // 8 and (weight := remainder.bit_count()) < best_weight:
                best, best_at, best_weight = remainder, exponent, weight
        folds.append(_Fold(exponent=best_at, terms=tuple(e for e in range(width) if best >> e & 1)))
        best_weight = width + 1
        window *= 2
    return tuple(reversed(folds))


def _reflect(value: int, width: int) -> int:
    return int(f"{value:0{width}b}"[::-1], 2)


def _multiply(left: int, right: int, width: int, polynomial: int) -> int:
    product = 0
    for bit in range(width):
        if right >> bit & 1:
            product ^= left << bit
    full = polynomial | 1 << width
    for bit in range(product.bit_length() - 1, width - 1, -1):
        if product >> bit & 1:
            product ^= full << (bit - width)
    return product


def _power(exponent: int, width: int, polynomial: int) -> int:
    """x^exponent mod P."""
    result, base = 1, 2
    while exponent:
        if exponent & 1:
            result = _multiply(result, base, width, polynomial)
        base = _multiply(base, base, width, polynomial)
        exponent >>= 1
    return result
