"""Keys: their public mark, what masks are made from, and that a seed is a key of its own."""

import hashlib
import hmac

from facemae_cli.data.faces import Name
from facemae_cli.masking.key import Key, seed_mask_key, seed_payload

SECRET = bytes(range(32))
KEY = Key(SECRET)


def digest(message: bytes) -> bytes:
    return hmac.new(SECRET, message, hashlib.sha256).digest()


def test_key_id_and_mask_key():
    assert KEY.key_id == digest(b"key-id")[:8].hex() == "fa0cde5e86539aca"
    assert KEY.mask_key == SECRET


def test_seeds_are_keys_of_their_own():
    assert seed_mask_key(0) == hashlib.sha256(b"facemae mask seed 0").digest()
    assert seed_mask_key(12) == hashlib.sha256(b"facemae mask seed 12").digest()
    assert seed_payload(Name("a/b", "c.jpg")) == b"a/b\x00c.jpg"
    assert seed_payload(Name(None, "c.jpg")) == b"\x00c.jpg"
