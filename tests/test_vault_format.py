"""docs/vault_format.md says enough for another program: its examples, and what a gate wrote, are opened here by what it says alone."""
import base64
import glob
import hashlib
import hmac
import json
import os
import re
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from harness.registrar import ACCOUNTS, ROLES, in_database

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


def open_envelope(key, envelope, bound_to, version=1):
    assert envelope[0] == version
    return xaes_open(key, envelope[9:33], envelope[33:], envelope[:9] + bound_to)


def lengths_before(*texts):
    return b"".join(struct.pack(">H", len(text.encode())) + text.encode() for text in texts)


def example(text, number=0):
    return bytes.fromhex("".join(re.findall(r"```\n([0-9a-f\n]+)```", text)[number].split()))


def key_of_two(data_key, own):
    return hmac.digest(data_key, b"ecluse value of a person" + own, hashlib.sha256)


def test_the_envelope_opens():
    assert open_envelope(KEY, example(section("Envelope")), b"ecluse example") == b"person:4242"


def pseudonym_key(link, register, space):
    of = b"ecluse pseudonyms" + lengths_before(register, space)
    return hmac.digest(link, of + b"1", hashlib.sha256) + hmac.digest(link, of + b"2", hashlib.sha256)


def open_pseudonym(link, register, space, pseudonym):
    return AESSIV(pseudonym_key(link, register, space)).decrypt(bytes(pseudonym), [b"ecluse pseudonym"]).rstrip(b"\0").decode()


def test_the_pseudonym_opens():
    sealed = example(section("Pseudonyms of a compartment"))
    assert open_pseudonym(KEY, "interior", "person", sealed) == "4242" and len(sealed) == 16 + 20
    assert AESSIV(pseudonym_key(KEY, "interior", "person")).encrypt(b"4242" + bytes(16), [b"ecluse pseudonym"]) == sealed


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


def test_the_value_under_a_persons_own_key_opens_with_both_alone():
    sealed, own = example(section("Sealed values"), 1), bytes(range(32, 64))
    cell = b"ecluse value" + lengths_before("interior", "taj.person", "nir", "person:4242")
    assert open_envelope(key_of_two(KEY, own), sealed, cell, 3) == b"185057800608491"
    for wrong in (KEY, own, key_of_two(own, KEY)):
        try:
            open_envelope(wrong, sealed, cell, 3)
        except InvalidTag:
            continue
        raise AssertionError("it opens under another key")


def test_the_tokens_are_what_the_page_says():
    text = section("Blind indexes")
    column = hmac.digest(KEY, b"ecluse blind index" + lengths_before("interior", "family_name"), hashlib.sha256)

    def token(letter, level, of):
        return hmac.digest(column, letter + struct.pack(">H", level) + of, hashlib.sha256)[:16].hex()

    assert f"equality `{token(b'e', 0, b'lefevre')}`" in text
    assert f"prefix of 3 `{token(b'p', 3, b'lef')}`" in text
    assert f"phonetic `{token(b's', 0, b'LEFEVR')}`" in text
    assert f"step 9617, `{token(b'r', 4, struct.pack('>q', 9617 >> 4))}`" in text


def lines_of(path):
    with open(path) as f:
        return [line.split() for line in f.read().splitlines()]


def unwrap(key, line):
    """A line `kind name id base64`."""
    kind, name, number, coded = line
    return open_envelope(key, base64.b64decode(coded), f"ecluse {kind} {name} {number}".encode())


def coded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def entries_of(gate):
    """By docs/ledger_format.md, "Records"."""
    with open(os.path.join(gate.data, "ledger", "wal-00000001"), "rb") as f:
        data = f.read()
    at, entries = 4096, []
    while data[at:at + 4] == b"ECLR":
        length, = struct.unpack(">I", data[at + 4:at + 8])
        entries.append(json.loads(data[at + 48:at + 48 + length]))
        at += 48 + (length + 7) // 8 * 8
    return entries


def test_what_a_gate_wrote_opens_down_from_its_root(make_gate):
    gate = make_gate("vaultpage", accounts={"prober": "prober"})
    with gate.psycopg() as c:
        c.execute("SELECT family_name FROM taj.person WHERE person_id = 1001 AND family_name <> 'Nobody''s'")
    gate.stop()
    root = base64.b64decode(lines_of(os.path.join(gate.folder, "root.key"))[1][0])
    ring = {tuple(line[:2]): line for line in lines_of(gate.data + "/keys/ring")}
    kek = unwrap(root, ring["kek", "gate"])
    generations = lines_of(os.path.join(gate.folder, "root.key.generations"))
    assert generations[:2] == [["ecluse", "root", "generations", "v1"], ["gate", ring["kek", "gate"][2]]]
    generation = unwrap(kek, generations[2])
    with open(gate.data + "/keys/generation") as f:
        assert f.read() == generations[2][2] + "\n"
    day_path, = glob.glob(gate.data + "/keys/days/*")
    month_path, = glob.glob(gate.data + "/keys/literals/*")
    day, month = unwrap(kek, lines_of(day_path)[1]), unwrap(generation, lines_of(month_path)[1])
    entries = entries_of(gate)
    shown = next(e for e in entries if e["kind"] == "disclosure")
    binding = f"ecluse entry\n{shown['register']}\n{shown['node']}\n{shown['salt']}".encode()
    sealed = json.loads(open_envelope(day, coded(shown["sealed"]), binding))
    quoted = json.loads(open_envelope(month, coded(sealed["quoted"]), binding + b"\nquoted"))
    assert "Nobody's" in quoted["literals"] and "1001" in quoted["literals"] and "Nobody" not in json.dumps(sealed)
    token, = sealed["subjects"][0]["returned"]
    person = next(e for e in entries if e["kind"] == "person" and e["subject"] == token)
    log = b"".join(open(path, "rb").read() for path in glob.glob(gate.data + "/keys/persons/*.log"))
    wrapped = re.search(rb"\x01\x10" + re.escape(coded(token)) + rb"\x51(.{81})", log, re.S)[1]  # RocksDB: a key and its value
    key = open_envelope(generation, wrapped, f"ecluse person key {token}".encode())
    assert open_envelope(key, coded(person["person"]), f"ecluse person\n{person['register']}\n{person['node']}\n{token}".encode()) == b"person:1001"


def test_a_value_under_a_persons_own_key_opens_down_from_the_root(make_gate):
    gate = make_gate("vaultpageown", accounts=ACCOUNTS, roles=ROLES, sealed=True, own="per_person")
    gate.stop()
    root = base64.b64decode(lines_of(os.path.join(gate.folder, "root.key"))[1][0])
    ring = {tuple(line[:2]): line for line in lines_of(gate.data + "/keys/ring")}
    data = unwrap(unwrap(root, ring["compartment", "main"]), ring["data", "main"])
    generation_line = lines_of(os.path.join(gate.folder, "root.key.generations"))[-1]
    generation = unwrap(unwrap(root, ring["kek", "gate"]), generation_line)
    subject = hmac.digest(unwrap(unwrap(root, ring["kek", "gate"]), ring["key", "index"]), b"person:1001", hashlib.sha256)[:16]
    binding = b"ecluse value key " + base64.urlsafe_b64encode(subject).rstrip(b"=")
    files = b"".join(open(path, "rb").read() for kind in ("log", "sst") for path in glob.glob(f"{gate.data}/keys/values/*.{kind}"))
    keys = set()
    for m in re.finditer(re.escape(b"\x01" + bytes.fromhex(generation_line[2])), files):  # where RocksDB has it is its own affair
        try:
            keys.add(open_envelope(generation, files[m.start():m.start() + 81], binding))
        except InvalidTag:
            pass
    own, = keys
    (envelope, name), = in_database(gate, "SELECT nir::bytea, 'taj.person' FROM taj.person WHERE person_id = 1001")
    cell = b"ecluse value" + lengths_before("vaultpageown", name, "nir", "person:1001")
    opened = open_envelope(key_of_two(data, own), bytes(envelope), cell, 3).decode()
    gate.serve()
    with gate.psycopg("registrar") as c:
        assert c.execute("SELECT nir FROM taj.person WHERE person_id = 1001").fetchone() == (opened,)


def test_a_compartments_rows_open_down_from_the_root(make_gate, register_a):
    gate = make_gate("vaultpagelinks", accounts=ACCOUNTS, roles=ROLES, sealed=True, compartment="contact", serve=False)
    root = base64.b64decode(lines_of(os.path.join(gate.folder, "root.key"))[1][0])
    ring = {tuple(line[:2]): line for line in lines_of(gate.data + "/keys/ring")}
    under = unwrap(root, ring["compartment", "contact"])
    link, data = unwrap(under, ring["link", "contact"]), unwrap(under, ring["data", "contact"])
    rows = {a["address_id"]: a for a in register_a["sia.address"]}
    stored = in_database(gate, "SELECT address_id, owner_id::bytea, street::bytea FROM sia.address")
    assert len(stored) == len(rows)
    for number, pseudonym, street in stored:
        owner = open_pseudonym(link, "vaultpagelinks", "person", pseudonym)
        assert owner == str(rows[number]["owner_id"])
        cell = b"ecluse value" + lengths_before("vaultpagelinks", "sia.address", "street", f"person:{owner}")
        assert open_envelope(data, bytes(street), cell).decode() == rows[number]["street"]
