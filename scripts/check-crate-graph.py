#!/usr/bin/env python3
"""Checks who may know whom in the house, and fails on a forbidden arrow.

    scripts/check-crate-graph.py              check this workspace
    scripts/check-crate-graph.py --self-test  show on toy workspaces that each kind of violation is caught

The arrows are those of the rooms in docs/architecture.md. Three things are looked at: which of our packages name
each other in their Cargo.toml (`cargo metadata`), what a room links in the end (`cargo tree`, each room resolved on
its own, every feature and platform), and where the sources mention a storage engine.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ANYTHING = None

# Room -> rooms that it may name as a normal or build dependency. A workspace member without a row is an error:
# whoever adds a room decides here what it may know.
ARROWS = {
    "clave-crypto": set(),
    "clave-crdt": set(),
    "clave-mailbox": set(),
    "clave-engine": {"clave-crypto", "clave-crdt", "clave-mailbox"},
    "clave-transport": set(),
    "clave": {"clave-engine", "clave-transport"},
    "clave-relay": {"clave-transport", "clave-mailbox"},
    "clave-bridge": {"clave"},
    "clave-ffi": {"clave"},
    "clave-cli": {"clave"},
    "clave-examples": {"clave"},
    "clave-sim": ANYTHING,
    "clave-fuzz": ANYTHING,
    "clave-bench": ANYTHING,
}
# Tests may go further, to the simulator only; those of the relay's program also to the devices that it serves.
DEV_ARROWS = {"clave-sim"}
DEV_ARROWS_OF = {"clave-relay": {"clave"}}

# Room -> what must appear nowhere in the tree that it links, and why. `*` ends a prefix.
IO_CRATES = ["tokio", "tokio-*", "async-std", "smol", "mio", "async-io", "socket2", "libp2p", "libp2p-*", "sled", "redb"]
TREE_BANS = {
    "clave-crypto": (IO_CRATES, "a pure room does no I/O"),
    "clave-crdt": (IO_CRATES, "a pure room does no I/O"),
    "clave-engine": (IO_CRATES, "a pure room does no I/O"),
    "clave-mailbox": (IO_CRATES, "a pure room does no I/O"),
    "clave-relay": (
        ["openmls", "openmls_*", "automerge", "clave", "clave-crypto", "clave-crdt", "clave-engine"],
        "the relay is blind: it must not even link code that decrypts or reads",
    ),
}

# Storage engines: who may name them in Cargo.toml, and below which paths sources may mention them.
STORAGE_ENGINES = {"redb", "sled"}
STORAGE_ROOMS = {"clave", "clave-relay"}
STORAGE_PATHS = (
    "core/src/store.rs",
    "core/src/store/",
    "core/tests/store.rs",
    "core/tests/store/",
    "core/examples/power_cut.rs",  # its control is sled as it comes
    "relay/node/src/store.rs",
    "relay/node/src/store/",
    "relay/node/src/unlinkable/stored.rs",  # a test that reads the file as whoever copied the disk would
)
STORAGE_FREE = ("bench/", "fuzz/")  # comparisons and hostile input may reach an engine directly
STORAGE_USE = re.compile(r"\b(?:redb|sled)::|\b(?:use|extern\s+crate)\s+(?:redb|sled)\b")


def cargo(root, *arguments):
    done = subprocess.run(["cargo", *arguments], cwd=root, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"cargo {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def check_arrows(packages, say):
    """Yields a sentence for each dependency between our packages, or on a storage engine, that is not allowed."""
    ours = {package["name"] for package in packages}
    for package in sorted(packages, key=lambda package: package["name"]):
        name = package["name"]
        if name not in ARROWS:
            yield f"{name} is a workspace member without a row in ARROWS: say there what it may know"
            continue
        allowed = ARROWS[name]
        for dependency in package["dependencies"]:
            target, kind = dependency["name"], dependency["kind"] or "normal"
            if target in STORAGE_ENGINES and name not in STORAGE_ROOMS and allowed is not ANYTHING:
                yield f"{name} → {target} ({kind}): only {', '.join(sorted(STORAGE_ROOMS))} may name a storage engine"
            if target not in ours or allowed is ANYTHING:
                continue
            if target not in (allowed | DEV_ARROWS | DEV_ARROWS_OF.get(name, set()) if kind == "dev" else allowed):
                yield f"{name} → {target} ({kind}): not an arrow of the house"
        known = "anything" if allowed is ANYTHING else ", ".join(sorted(allowed)) or "no room of ours"
        say(f"arrows   {name:16} may name {known}")


def check_trees(root, packages, say):
    """Yields a sentence for each banned package that a room links, directly or through others."""
    ours = {package["name"] for package in packages}
    for name, (bans, why) in TREE_BANS.items():
        if name not in ours:
            say(f"tree     {name:16} is not built yet")
            continue
        edges = ("-e", "normal", "--all-features", "--target", "all", "--prefix", "none", "--format", "{p}")
        lines = cargo(root, "tree", "--locked", "-p", name, *edges).splitlines()
        linked = {line.split()[0] for line in lines if line.strip()} - {name}
        for package in sorted(linked):
            if any(package == ban or (ban.endswith("*") and package.startswith(ban[:-1])) for ban in bans):
                yield f"{name} links {package}: {why} (cargo tree -p {name} --all-features --target all -i {package})"
        say(f"tree     {name:16} links {len(linked)} packages; looked for {', '.join(bans)}")


def check_sources(root, say):
    """Yields a sentence for each source line that mentions a storage engine outside the store."""
    scanned = 0
    for path in sorted(root.rglob("*.rs")):
        relative = path.relative_to(root).as_posix()
        if "target" in path.relative_to(root).parts or relative.startswith(STORAGE_PATHS + STORAGE_FREE):
            continue
        scanned += 1
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if STORAGE_USE.search(line.split("//")[0]):
                yield f"{relative}:{number} mentions a storage engine: {line.strip()}"
    say(f"sources  {scanned} files outside the store; looked for {', '.join(sorted(STORAGE_ENGINES))}")


def violations(root, say):
    metadata = json.loads(cargo(root, "metadata", "--locked", "--no-deps", "--format-version", "1"))
    packages = metadata["packages"]
    return [*check_arrows(packages, say), *check_trees(root, packages, say), *check_sources(root, say)]


def toy_house(directory, rooms, sources=()):
    """A workspace of empty packages under `directory`; a dependency that is no room is an empty package beside it."""
    root = directory / "house"
    outside = {target for arrows in rooms.values() for target, _ in arrows} - set(rooms)
    places = {room: root / room for room in rooms} | {name: directory / name for name in outside}
    for name, place in places.items():
        (place / "src").mkdir(parents=True)
        (place / "src/lib.rs").write_text("")
        manifest = [f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2021"']
        for target, kind in rooms.get(name, ()):
            table = {"normal": "dependencies", "dev": "dev-dependencies", "build": "build-dependencies"}[kind]
            manifest.append(f'[{table}.{target}]\npath = "{places[target]}"')
        (place / "Cargo.toml").write_text("\n".join(manifest) + "\n")
    (root / "Cargo.toml").write_text(f"[workspace]\nresolver = \"2\"\nmembers = {json.dumps(sorted(rooms))}\n")
    for path, text in sources:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    cargo(root, "generate-lockfile", "--offline")
    return root


def self_test():
    sound = {
        "clave-crypto": [],
        "clave-crdt": [],
        "clave-engine": [("clave-crypto", "normal"), ("clave-crdt", "normal"), ("clave-sim", "dev")],
        "clave-transport": [("tokio", "normal")],
        "clave": [("clave-engine", "normal"), ("clave-transport", "normal"), ("redb", "normal")],
        "clave-relay": [("clave-transport", "normal")],
        "clave-sim": [("clave-engine", "normal"), ("clave", "normal")],
    }
    legal_source = ("core/src/store/redb.rs", "use redb::Database;\n")
    cases = [
        ("a sound house", {}, [legal_source], []),
        ("a forbidden arrow", {"clave-crdt": [("clave-crypto", "normal")]}, [], ["clave-crdt → clave-crypto (normal)"]),
        ("a shortcut", {"clave-ffi": [("clave-engine", "normal")]}, [], ["clave-ffi → clave-engine (normal)"]),
        ("a test that goes too far", {"clave-crypto": [("clave-crdt", "dev")]}, [], ["clave-crypto → clave-crdt (dev)"]),
        ("a build script that does", {"clave-crypto": [("clave-crdt", "build")]}, [], ["clave-crypto → clave-crdt (build)"]),
        ("a room nobody placed", {"clave-util": []}, [], ["clave-util is a workspace member without a row"]),
        ("a runtime in a pure room", {"clave-crdt": [("tokio", "normal")]}, [], ["clave-crdt links tokio", "clave-engine links tokio"]),
        ("a whole family by prefix", {"clave-crypto": [("libp2p-core", "normal")]}, [], ["clave-crypto links libp2p-core", "clave-engine links libp2p-core"]),
        ("a relay that can read", {"clave-relay": [("automerge", "normal")]}, [], ["clave-relay links automerge"]),
        ("an engine outside the store", {"clave-transport": [("sled", "normal")]}, [], ["clave-transport → sled (normal)"]),
        ("an import outside the store", {}, [("core/src/node.rs", "// use sled::Db;\nlet db = redb::Database::open(path);\n")], ["core/src/node.rs:2 mentions"]),
    ]
    failed = 0
    for title, changed, sources, expected in cases:
        with tempfile.TemporaryDirectory() as directory:
            found = violations(toy_house(pathlib.Path(directory), sound | changed, sources), lambda _: None)
        caught = len(found) == len(expected) and all(line.startswith(start) for line, start in zip(found, expected))
        failed += not caught
        print(f"{'ok      ' if caught else 'FAILED  '} {title}: {found or 'nothing to report'}")
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true", help="check the checker on toy workspaces")
    if parser.parse_args().self_test:
        return self_test()
    found = violations(pathlib.Path(__file__).resolve().parent.parent, print)
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
