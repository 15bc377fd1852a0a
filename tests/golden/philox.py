"""Philox4x32-10, the generator that Fulcrum and the golden data share, bit for bit.

    counter = (lo32(block), hi32(block), lo32(stream), hi32(stream)),  key = (lo32(seed), hi32(seed))

Element i of a fill is word i % 4 of block i / 4.  Tensors are filled in PyTorch's layout order (NCHW, OIHW).
"""

import numpy as np

SEED = 2026
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)


def philox4x32(counter, key):
    """Ten rounds on four arrays (or scalars) of 32-bit counter words; returns four uint32 arrays."""
    c = [np.atleast_1d(np.asarray(word, dtype=np.uint64)) for word in counter]
    k = [int(word) for word in key]
    for _ in range(10):
        product0, product1 = _MULTIPLIERS[0] * c[0], _MULTIPLIERS[1] * c[2]
        c = [
            (product1 >> _SHIFT) ^ c[1] ^ np.uint64(k[0]),
            product1 & _LOW,
            (product0 >> _SHIFT) ^ c[3] ^ np.uint64(k[1]),
            product0 & _LOW,
        ]
        k = [(k[j] + _KEY_STEPS[j]) & 0xFFFFFFFF for j in range(2)]
    return [word.astype(np.uint32) for word in c]


def words(count: int, stream: int, seed: int = SEED) -> np.ndarray:
    """The first `count` 32-bit words of a stream."""
    block = np.arange((count + 3) // 4, dtype=np.uint64)
    counter = (block & _LOW, block >> _SHIFT, stream & 0xFFFFFFFF, stream >> 32)
    counter = np.broadcast_arrays(*(np.asarray(word, dtype=np.uint64) for word in counter))
    out = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))
    return np.stack(out, axis=1).reshape(-1)[:count]


def uniform(count: int, stream: int, seed: int = SEED) -> np.ndarray:
    """float32 in [0, 1): (word >> 8) * 2^-24, exact."""
    return (words(count, stream, seed) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def symmetric(shape, bound: float, stream: int, offset: float = 0.0) -> np.ndarray:
    """float32(2u - 1) * float32(bound), one rounding; with an offset, float32(offset) + that, one more."""
    u = uniform(int(np.prod(shape, dtype=np.int64)), stream)
    values = (np.float32(2) * u - np.float32(1)) * np.float32(bound)
    if offset:
        values = np.float32(offset) + values
    return values.reshape(shape)


def check_known_answers() -> None:
    """Random123's published test vectors."""
    ones = 0xFFFFFFFF
    answers = {
        ((0, 0, 0, 0), (0, 0)): "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
        ((ones,) * 4, (ones,) * 2): "408f276d 41c83b0e a20bc7c6 6d5451fd",
        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)): (
            "d16cfe09 94fdcceb 5001e420 24126ea1"
        ),
    }
    for (counter, key), expected in answers.items():
        got = " ".join(f"{int(word[0]):08x}" for word in philox4x32(counter, key))
        if got != expected:
            raise AssertionError(f"Philox4x32-10: expected {expected}, got {got}")
