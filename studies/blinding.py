"""Blinding: opaque ids, encryption of what unblinds, the sealed key, one grey scale for the arms of a clip.

Rules. An id is 64 random bits: it sorts by nothing. What would unblind is AES-GCM ciphertext, padded so that
its length tells nothing, and bound to its place by a context. The key that opens it is sealed under a
passphrase (scrypt → AES-GCM). The grey scale "least_squares" multiplies each arm xᵢ by the factor
aᵢ = ⟨xᵢ, m⟩/⟨xᵢ, xᵢ⟩ that brings it closest to m, the mean of the arms brought to their mean norm, then maps
the joint 0th…99.8th percentile to 0…255; "joint_percentile" leaves out the factors.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from numpy.typing import NDArray

from studies.errors import StudyError
from studies.log import canonical_json, parse_json

GREY_SCALE_RULES = ("least_squares", "joint_percentile")
WHITE_PERCENTILE = 99.8
KEY_BYTES = 32
SEAL_FORMAT = "blindcine-sealed-key-1"
SCRYPT_COST = 2**16
"""scrypt's n; with r = 8, 64 MiB and about 0.2 s a guess."""
_SCRYPT_BLOCK = 8
_SCRYPT_PARALLEL = 2
_SCRYPT_LARGEST_COST = 2**20
_NONCE_BYTES = 12
_PADDING_BYTES = 2048
_VEIL_CONTEXT = "labels to guess from"
_SCHEDULE_CONTEXT = "schedule of a package"
_VEIL_KEY = hashlib.sha256(_VEIL_CONTEXT.encode()).digest()


def opaque_ids(count: int) -> list[str]:
    """Return `count` different random ids of 16 hexadecimal digits, in random order."""
    ids: set[str] = set()
    while len(ids) < count:
        ids.add(secrets.token_hex(8))
    drawn = sorted(ids)
    secrets.SystemRandom().shuffle(drawn)
    return drawn


def new_key() -> bytes:
    """Return a random key for `encrypt`."""
    return secrets.token_bytes(KEY_BYTES)


def encrypt(key: bytes, value: Mapping[str, Any], *, context: str) -> str:
    """Encrypt a table to text. `context` must be given again to `decrypt`; it is not stored."""
    text = canonical_json(value).encode()
    text += b" " * (-len(text) % _PADDING_BYTES)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, text, context.encode())).decode()


def decrypt(key: bytes, text: str, *, context: str) -> dict[str, Any]:
    """Decrypt what `encrypt` made. Raises StudyError when key, text or context are not the same as then."""
    try:
        blob = base64.b64decode(text, validate=True)
        table = parse_json(
            AESGCM(key).decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], context.encode()).decode()
        )
    except (InvalidTag, ValueError) as error:
        raise StudyError(
            f"The encrypted part of '{context}' cannot be opened: its key or its text was changed."
        ) from error
    return dict(table)


def veil_labels(labels: Sequence[str]) -> str:
    """Keep the labels that readers guess from out of sight until they guess.

    The key is in this program, so whoever wants to can read them; but they tell only what is compared, never
    which movie is which, and no file of a locked study holds them in clear.
    """
    return encrypt(_VEIL_KEY, {"labels": list(labels)}, context=_VEIL_CONTEXT)


def unveiled_labels(text: str) -> tuple[str, ...]:
    """Return what `veil_labels` hid; none for an empty text. Raises StudyError when it was changed."""
    return tuple(decrypt(_VEIL_KEY, text, context=_VEIL_CONTEXT)["labels"]) if text else ()


def veil_schedule(entries: Sequence[Mapping[str, Any]]) -> str:
    """Keep a reader's schedule out of sight, for it says which presentations are hidden repeats.

    The key is in this program, as with `veil_labels`: it hides what an archive program would show.
    """
    return encrypt(_VEIL_KEY, {"entries": list(entries)}, context=_SCHEDULE_CONTEXT)


def unveiled_schedule(text: str) -> list[dict[str, Any]]:
    """Return what `veil_schedule` hid. Raises StudyError when it was changed."""
    return list(decrypt(_VEIL_KEY, text, context=_SCHEDULE_CONTEXT)["entries"])


def seal(mapping: Mapping[str, Any], passphrase: str) -> bytes:
    """Encrypt a table under a passphrase.

    Args:
        mapping: JSON-ready.
        passphrase: any text; compared in Unicode form NFC.

    Returns:
        The content of a sealed key file (JSON).
    """
    header: dict[str, Any] = {
        "format": SEAL_FORMAT,
        "n": SCRYPT_COST,
        "r": _SCRYPT_BLOCK,
        "p": _SCRYPT_PARALLEL,
        "salt": secrets.token_hex(16),
        "nonce": secrets.token_hex(_NONCE_BYTES),
    }
    text = canonical_json(mapping).encode()
    text += b" " * (-len(text) % _PADDING_BYTES)
    sealed = AESGCM(_passphrase_key(header, passphrase)).encrypt(
        bytes.fromhex(header["nonce"]), text, canonical_json(header).encode()
    )
    return canonical_json({"header": header, "sealed": base64.b64encode(sealed).decode()}).encode()


def unseal(content: bytes, passphrase: str) -> dict[str, Any]:
    """Open what `seal` made. Raises StudyError for a wrong passphrase or a damaged file."""
    try:
        document = json.loads(content)
        header = document["header"]
        sealed = base64.b64decode(document["sealed"], validate=True)
        nonce = bytes.fromhex(header["nonce"])
        known = header["format"] == SEAL_FORMAT and header["n"] <= _SCRYPT_LARGEST_COST
        if not known:
            raise StudyError(
                "The sealed key is of a kind that this program does not know: use a newer blindcine."
            )
        key = _passphrase_key(header, passphrase)
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError("The sealed key is damaged: restore it from a copy.") from error
    try:
        text = AESGCM(key).decrypt(nonce, sealed, canonical_json(header).encode())
    except InvalidTag:
        raise StudyError("The passphrase does not open the sealed key: check it and try again.") from None
    return dict(parse_json(text.decode()))


def _passphrase_key(header: Mapping[str, Any], passphrase: str) -> bytes:
    derivation = Scrypt(
        salt=bytes.fromhex(header["salt"]), length=KEY_BYTES, n=header["n"], r=header["r"], p=header["p"]
    )
    return derivation.derive(unicodedata.normalize("NFC", passphrase).encode())


def arm_factors(
    movies: Sequence[NDArray[np.float32]] | NDArray[np.float32], rule: str
) -> NDArray[np.float32]:
    """Return the factor of each arm before the common grey scale.

    Args:
        movies: magnitude, `(arm, frame, y, x)`.
        rule: one of `GREY_SCALE_RULES`.

    Returns:
        `(arm,)`; ones for "joint_percentile"; 1 for an arm that is zero or would be turned negative.

    Raises:
        StudyError: for an unknown rule, or movies that differ in shape.
    """
    stack = _stacked(movies, rule)
    factors = np.ones(len(stack))
    if rule == "joint_percentile":
        return factors.astype(np.float32)
    flat = stack.reshape(len(stack), -1)
    # The mean is taken over arms of equal energy, so that no arm's own scale decides it.
    energies = np.array([np.square(arm, dtype=np.float64).sum() for arm in flat])
    norms = np.sqrt(np.where(energies > 0, energies, 1.0))
    mean = (flat / norms[:, None].astype(np.float32)).mean(axis=0) * np.float32(norms.mean())
    for arm, (values, energy) in enumerate(zip(flat, energies, strict=True)):
        product = float(np.vdot(values, mean))
        if energy > 0 and product > 0:
            factors[arm] = product / energy
    return factors.astype(np.float32)


def display_frames(
    movies: Sequence[NDArray[np.float32]] | NDArray[np.float32], rule: str = "least_squares"
) -> NDArray[np.uint8]:
    """Return grey values of all arms of a clip on one scale.

    Args:
        movies: magnitude, `(arm, frame, y, x)`, equal shapes.
        rule: one of `GREY_SCALE_RULES`.

    Returns:
        `(arm, frame, y, x)`, 0 (black) to 255 (white).

    Raises:
        StudyError: for an unknown rule, or movies that differ in shape.
    """
    stack = _stacked(movies, rule)
    scaled = stack * arm_factors(stack, rule)[:, None, None, None]
    black = float(scaled.min())
    white = float(np.percentile(scaled, WHITE_PERCENTILE))
    if white <= black:
        return np.zeros(scaled.shape, np.uint8)
    scaled -= np.float32(black)
    scaled *= np.float32(255.0 / (white - black))
    return np.asarray(np.rint(np.clip(scaled, 0.0, 255.0)), np.uint8)


def _stacked(movies: Sequence[NDArray[np.float32]] | NDArray[np.float32], rule: str) -> NDArray[np.float32]:
    if rule not in GREY_SCALE_RULES:
        raise StudyError(
            f"The grey-scale rule '{rule}' is unknown: choose one of {', '.join(GREY_SCALE_RULES)}."
        )
    shapes = {np.shape(movie) for movie in movies}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise StudyError(
            "The movies of a clip must be (frame, y, x) and equal in shape to share a grey scale."
        )
    return np.asarray(movies, np.float32)
