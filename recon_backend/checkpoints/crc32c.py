"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, in NumPy and fast enough for whole networks.

The register is linear over GF(2), so a text is cut into equal lanes that are stepped side by side, byte by
byte, and then joined in pairs: register(A‖B) = Z^|B| register(A) ⊕ register(B), with Z the step over one
zero byte as a 32×32 matrix.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = np.uint32(0x82F63B78)
_LANES = 4096
_MASK_DELTA = 0xA282EAD8

Words = npt.NDArray[np.uint32]


@lru_cache(maxsize=1)
def _table() -> Words:
    """What one step makes of each value of the register's lowest byte."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        odd = (table & np.uint32(1)).astype(bool)
        table = (table >> np.uint32(1)) ^ np.where(odd, _POLYNOMIAL, np.uint32(0))
    return table


def _apply(matrix: Words, registers: Words) -> Words:
    """The GF(2) product of a matrix, given by its columns, with each register."""
    result = np.zeros_like(registers)
    for bit in range(32):
        result ^= np.where((registers >> np.uint32(bit)) & 1, matrix[bit], np.uint32(0))
    return result


def _zero_bytes(count: int) -> Words:
    """The columns of the matrix that steps over `count` zero bytes."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    step, matrix = _table()[bits & 255] ^ (bits >> 8), bits
    while count:
        if count & 1:
            matrix = _apply(step, matrix)
        step = _apply(step, step)
        count >>= 1
    return matrix


def _stepped(registers: Words, data: npt.NDArray[np.uint8]) -> Words:
    """Registers (lane,) after the bytes (byte, lane)."""
    table = _table()
    for row in data:
        registers = table[(registers ^ row) & 255] ^ (registers >> 8)
    return registers


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """The CRC-32C of `data`; 0xE3069283 for b"123456789"."""
    values = np.frombuffer(data, np.uint8)
    length = len(values) // _LANES
    register = np.array([0xFFFFFFFF], np.uint32)
    if length:
        body = np.ascontiguousarray(values[: length * _LANES].reshape(_LANES, length).T)
        lanes, size = _stepped(np.zeros(_LANES, np.uint32), body), length
        while len(lanes) > 1:
            lanes, size = _apply(_zero_bytes(size), lanes[::2]) ^ lanes[1::2], 2 * size
        register = _apply(_zero_bytes(size), register) ^ lanes
    register = _stepped(register, values[length * _LANES :, None])
    return int(register[0]) ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """The form in which TensorFlow's files store it: rotated right by 15 bits, plus a constant."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
