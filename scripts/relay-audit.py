#!/usr/bin/env python3
"""Searches everything that a relay kept, logged and exported for what it must not know.

    scripts/relay-audit.py --ids FILE [--texts FILE] [--content FILE]... -- PATH...
    scripts/relay-audit.py --self-test

--ids      lines of JSON as `clave --json` prints them: whatever stands there as the id of a person, device, space or circle is looked for,
           as bytes, in hexadecimal, base32, base58 (also as a PeerId), base64 and as a list of numbers, whole or in part
--texts    one text a line: looked for in UTF-8 and UTF-16, hexadecimal, base64 and as escapes
--content  a file whose bytes must not appear
PATH       what is searched: files, and directories with all below them

Fails if something is found, or if there was nothing to look for or to search.
"""

import argparse
import base64
import json
import pathlib
import sys
import tempfile
import urllib.parse

# Fields of `clave --json` that name somebody or something. Ids of entries and chunks are the relay's to know.
ID_FIELDS = {"person": "person", "device": "device"}
LISTS = {"spaces": "space", "circles": "circle"}
ID_BYTES = 32
# A part of an id that is no chance in some hundred megabytes.
PART_BYTES = 8
# What a text has to give in any form to be looked for, for the same reason.
TEXT_BYTES_MIN = 5
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# An Ed25519 key as a PeerId: the multihash of its protobuf, in clear.
PEER_ID = bytes([0x00, 0x24, 0x08, 0x01, 0x12, 0x20])


def base58(raw):
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


def within_base64(raw):
    """What base64 of anything that holds these bytes holds, wherever they begin in it."""
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw).decode()
        # The characters that depend on nothing else.
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        yield text[first:last]
        yield text[first:last].translate(str.maketrans("+/", "-_"))


def both_cases(text):
    yield text.lower()
    yield text.upper()


def forms_of_id(raw):
    """Everything that would give an id away, as (what it is, bytes)."""
    parts = [raw[at : at + PART_BYTES] for at in (0, 12, ID_BYTES - PART_BYTES)]
    for part in parts:
        yield "bytes", part
        yield from (("hexadecimal", text.encode()) for text in both_cases(part.hex()))
        yield from (("base64", text[:10].encode()) for text in within_base64(part))
        yield "numbers", ", ".join(map(str, part)).encode()
        yield "escapes", "".join(f"\\x{byte:02x}" for byte in part).encode()
    for name, text in (("base32", base64.b32encode(raw).decode().rstrip("=")), ("base58", base58(raw)), ("a PeerId", base58(PEER_ID + raw))):
        # The beginning of every PeerId is the same.
        for part in (text[8:20], text[-12:]):
            yield from ((name, cased.encode()) for cased in (both_cases(part) if name == "base32" else [part]))
    yield "base32", base64.b32encode(raw).decode()[:12].lower().encode()


def forms_of_text(text):
    raw = text.encode()
    if len(raw) < TEXT_BYTES_MIN:
        sys.exit(f"“{text}” is too short to be looked for: it would be found by chance")
    yield "UTF-8", raw
    yield from (("UTF-16", text.encode(order)) for order in ("utf-16-le", "utf-16-be") if 2 * len(text) >= TEXT_BYTES_MIN)
    yield from (("hexadecimal", cased.encode()) for cased in both_cases(raw.hex()))
    yield from (("base64", part.encode()) for part in within_base64(raw))
    yield "JSON escapes", json.dumps(text)[1:-1].encode()
    yield "URL escapes", urllib.parse.quote(text).encode()
    yield "Rust escapes", "".join(letter if letter.isascii() else f"\\u{{{ord(letter):x}}}" for letter in text).encode()


def forms_of_content(raw):
    for at in range(0, len(raw) - 32, max(1, len(raw) // 16)):
        yield "content", raw[at : at + 24]


def ids_in(value, kind=None):
    """(kind, bytes) of each id in what `clave --json` prints."""
    if isinstance(value, list):
        for one in value:
            yield from ids_in(one, kind)
    elif isinstance(value, dict):
        for key, one in value.items():
            if isinstance(one, str) and (key in ID_FIELDS or (key == "id" and kind)) and len(one) == 52:
                yield ID_FIELDS.get(key, kind), base64.b32decode(one.upper() + "====")
            else:
                yield from ids_in(one, LISTS.get(key, kind))


def files_of(paths):
    for path in paths:
        if path.is_dir():
            yield from (below for below in sorted(path.rglob("*")) if below.is_file())
        elif path.is_file():
            yield path
        else:
            sys.exit(f"{path} is not there")


def search(wanted, paths):
    """What is found, as sentences; and how many bytes were searched in how many files."""
    found, searched, files = [], 0, 0
    for path in files_of(paths):
        content = path.read_bytes()
        searched, files = searched + len(content), files + 1
        hits = {(name, form) for name, form, needle in wanted if needle in content}
        found += [f"{path} has {name} as {form}" for name, form in sorted(hits)]
    return found, searched, files


def wanted_of(ids, texts, contents):
    wanted = []
    for number, (kind, raw) in enumerate(sorted(ids)):
        wanted += [(f"the id of {kind} {number}", form, needle) for form, needle in forms_of_id(raw)]
    for text in texts:
        wanted += [(f"“{text}”", form, needle) for form, needle in forms_of_text(text)]
    for name, raw in contents:
        wanted += [(f"a part of {name}", form, needle) for form, needle in forms_of_content(raw)]
    return sorted(set(wanted))


def self_test():
    raw, text = bytes(range(7, 39)), "会议 notes"
    content = bytes((at * 7919 >> 3) & 255 for at in range(4_000))
    wanted = wanted_of({("person", raw)}, [text], [("报告.bin", content)])
    embedded = b"\x01" + raw + text.encode() + b"\x02"
    planted = {
        "bytes": b"xx" + raw,
        "half of the bytes": raw[:16],
        "hexadecimal": raw.hex().encode(),
        "HEXADECIMAL": raw.hex().upper().encode(),
        "the beginning in hexadecimal": raw.hex()[:16].encode(),
        "base32": base64.b32encode(raw).lower(),
        "BASE32": base64.b32encode(raw),
        "base58": base58(raw).encode(),
        "a PeerId": base58(PEER_ID + raw).encode(),
        "base64": base64.b64encode(embedded),
        "base64 for URLs": base64.urlsafe_b64encode(b"\x01\x02" + raw),
        "a list": str(list(raw)).encode(),
        "escapes": repr(raw).encode() + "".join(f"\\x{byte:02x}" for byte in raw).encode(),
        "UTF-8": text.encode(),
        "UTF-16": text.encode("utf-16-le"),
        "JSON": json.dumps({"name": text}).encode(),
        "a URL": urllib.parse.quote(text).encode(),
        "text in hexadecimal": text.encode().hex().encode(),
        "content": content[500:900],
    }
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "planted"
        for name, needle in planted.items():
            path.write_bytes(b"\0" * 100 + needle + b"\0" * 100)
            found, _, _ = search(wanted, [path])
            failed += not found
            print(f"{'ok      ' if found else 'FAILED  '} {name}: {len(found)} found")
        path.write_bytes(bytes((at * 104729 >> 5) & 255 for at in range(100_000)))
        found, _, _ = search(wanted, [path])
        failed += bool(found)
        print(f"{'FAILED  ' if found else 'ok      '} nothing: {found or 'nothing found'}")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true", help="plant what is looked for, in every form")
    parser.add_argument("--ids", type=pathlib.Path)
    parser.add_argument("--texts", type=pathlib.Path)
    parser.add_argument("--content", type=pathlib.Path, action="append", default=[])
    parser.add_argument("paths", type=pathlib.Path, nargs="*")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    lines = arguments.ids.read_text(encoding="utf-8").splitlines() if arguments.ids else []
    ids = {found for line in lines if line.strip() for found in ids_in(json.loads(line))}
    texts = arguments.texts.read_text(encoding="utf-8").split("\n") if arguments.texts else []
    wanted = wanted_of(ids, [text for text in texts if text], [(path.name, path.read_bytes()) for path in arguments.content])
    found, searched, files = search(wanted, arguments.paths)
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    kinds = {kind: sum(one == kind for one, _ in ids) for kind in sorted({kind for kind, _ in ids})}
    ids_said = ", ".join(f"{count} of a {kind}" for kind, count in kinds.items())
    print(f"searched {searched / 1e6:.1f} MB in {files} files for {len(wanted)} forms of {len(ids)} ids ({ids_said}), texts and content: {len(found)} found")
    return 1 if found or not ids or not searched else 0


if __name__ == "__main__":
    sys.exit(main())
