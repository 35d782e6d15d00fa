"""docs/vault_format.md says enough for another program: its examples are opened here by what it says alone."""
import hashlib
import hmac
import os
import re
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PAGE = os.path.join(os.path.dirname(__file__), "..", "docs", "vault_format.md")
KEY = bytes(range(32))


def page():
    with open(PAGE, encoding="utf-8") as f:
        return f.read()


def section(title):
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page(), re.M | re.S)[1]


def aes_block(key, block):
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()


def xaes_open(key, nonce, sealed, associated):
    """C2SP XAES-256-GCM."""
    first = int.from_bytes(aes_block(key, bytes(16)), "big")
    k1 = ((first << 1) & ((1 << 128) - 1)) ^ (0x87 if first >> 127 else 0)
    derived = b""
    for number in (1, 2):
        message = struct.pack(">H", number) + b"X\0" + nonce[:12]
        derived += aes_block(key, bytes(a ^ b for a, b in zip(message, k1.to_bytes(16, "big"))))
    return AESGCM(derived).decrypt(nonce[12:], sealed, associated)


def open_envelope(key, envelope, bound_to):
    assert envelope[0] == 1
    return xaes_open(key, envelope[9:33], envelope[33:], envelope[:9] + bound_to)


def lengths_before(*texts):
    return b"".join(struct.pack(">H", len(text.encode())) + text.encode() for text in texts)


def example(text):
    return bytes.fromhex("".join(re.search(r"```\n([0-9a-f\n]+)```", text)[1].split()))


def test_the_envelope_opens():
    assert open_envelope(KEY, example(section("Envelope")), b"ecluse example") == b"person:4242"


def test_the_sealed_value_opens_in_its_cell_alone():
    sealed = example(section("Sealed values"))
    assert sealed[1:9] == bytes(range(1, 9))
    cell = ("interior", "taj.person", "nir", "person:4242")
    assert open_envelope(KEY, sealed, b"ecluse value" + lengths_before(*cell)) == b"185057800608491"
    assert len(sealed) == len(b"185057800608491") + 49
    for place in range(4):
        other = list(cell)
        other[place] += "0"
        try:
            open_envelope(KEY, sealed, b"ecluse value" + lengths_before(*other))
        except InvalidTag:
            continue
        raise AssertionError(f"it opens in another {place}")


def test_the_tokens_are_what_the_page_says():
    text = section("Blind indexes")
    column = hmac.digest(KEY, b"ecluse blind index" + lengths_before("interior", "family_name"), hashlib.sha256)

    def token(letter, level, of):
        return hmac.digest(column, letter + struct.pack(">H", level) + of, hashlib.sha256)[:16].hex()

    assert f"equality `{token(b'e', 0, b'lefevre')}`" in text
    assert f"prefix of 3 `{token(b'p', 3, b'lef')}`" in text
    assert f"phonetic `{token(b's', 0, b'LEFEVR')}`" in text
    assert f"step 9617, `{token(b'r', 4, struct.pack('>q', 9617 >> 4))}`" in text
