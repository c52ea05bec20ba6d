#!/usr/bin/env python3
"""Runs every code block of the guides (docs/apps/*.md, docs/concepts.md).

    scripts/guides.py                 all
    scripts/guides.py rust python     these guides' programs only
    scripts/guides.py --write         puts the Rust guide's program into examples/

The blocks of a guide's language are one program, in their order: it is compiled and run, and says what the guide's `text` block
says. Shell blocks are run first. A block in a language that nothing here knows is an error, so none is left out. Programs run in
a network of their own (unshare), where there is nobody but themselves.
"""

import os
import pathlib
import plistlib
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
GUIDES = sorted((ROOT / "docs/apps").glob("*.md")) + [ROOT / "docs/concepts.md"]
RUST = ROOT / "examples/src/bin/ten_minutes.rs"
RUST_HEAD = """//! The program of the guide docs/apps/rust.md: `scripts/guides.py --write` puts it here.

#![allow(clippy::print_stdout, reason = "a program for people")]

"""
# For a namespace: root's own, or that of a user who is root in there only.
ALONE = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def blocks(guide):
    """Language and text of each."""
    found = re.findall(r"^```(\S*)\n(.*?)^```$", guide.read_text(), re.MULTILINE | re.DOTALL)
    assert 2 * len(found) == len(re.findall(r"^```", guide.read_text(), re.MULTILINE)), f"{guide}: a fence is not closed"
    return found


def run(*command, **how):
    return subprocess.run([str(word) for word in command], check=True, cwd=how.pop("cwd", ROOT), **how)


def said(*command):
    """What a program says that runs alone."""
    return run(*ALONE, *command, stdout=subprocess.PIPE, timeout=120).stdout.decode()


def rust(program, _manifest, work):
    assert RUST.read_text() == RUST_HEAD + program, f"{RUST.name} is not what the guide says: scripts/guides.py --write"
    run("cargo", "build", "--quiet", "-p", "clave-examples", "--bin", "ten_minutes")
    return said(TARGET / "debug/ten_minutes")


def python(program, _manifest, work):
    (work / "guide.py").write_text(program)
    return said(ROOT / "target/guide-venv/bin/python", work / "guide.py", work)


def kotlin(program, _manifest, work):
    (work / "Guide.kt").write_text(hoisted(program, r"import .*"))
    lines = run(ROOT / "scripts/kotlin-toolchain.sh", stdout=subprocess.PIPE).stdout.decode().splitlines()
    tools = {name: shlex.split(value)[0] for name, value in (line.split("=", 1) for line in lines)}
    path = f"{ROOT}/target/clave.jar:{tools['KOTLIN_CLASSPATH']}"
    run(*tools["KOTLINC"].split(), "-cp", path, "-d", work / "classes", "-jvm-target", "17", work / "Guide.kt")
    return said(*tools["KOTLIN"].split(), "-Dstdout.encoding=UTF-8", "-cp", f"{work}/classes:{path}", "GuideKt", work)


def swift(program, dependency, work):
    run("cargo", "build", "--quiet", "-p", "clave-ffi", "--lib", "--example", "counterpart")
    dependency = dependency.strip().rstrip(",").replace("…/clave", str(ROOT))
    package = f"""// swift-tools-version: 6.0
import PackageDescription
let package = Package(
    name: "guide", platforms: [.macOS(.v13)], dependencies: [{dependency}],
    targets: [.executableTarget(name: "guide", dependencies: ["Clave"], path: ".")], swiftLanguageModes: [.v6])
"""
    (work / "Package.swift").write_text(package)
    (work / "main.swift").write_text(program)
    toolchain, built = ROOT / "scripts/swift-toolchain.sh", TARGET / "swift-guide"
    linker = [word for flag in (f"-L{TARGET}/debug", "-rpath", f"{TARGET}/debug") for word in ("-Xlinker", flag)]
    run(toolchain, "swift", "build", "--quiet", "--scratch-path", built, *linker, cwd=work)
    return said(toolchain, built / "debug/guide", work)


def hoisted(program, pattern):
    """Imports go first where the language wants that."""
    imports = re.findall(rf"^{pattern}$", program, re.MULTILINE)
    return "\n".join(imports) + "\n" + re.sub(rf"^{pattern}$\n", "", program, flags=re.MULTILINE)


# The language of a program, how it is run, and what besides it takes.
PROGRAMS = {"rust": (rust, "toml"), "python": (python, None), "kotlin": (kotlin, None), "swift": (swift, "swift-package")}


def program_of(found, language):
    return "\n".join(text for name, text in found if name == language)


def check(guide, wanted):
    found = blocks(guide)
    known = {"sh", "text", "toml", "xml", "plist", "swift-package", *PROGRAMS}
    unknown = {language for language, _ in found} - known
    assert not unknown, f"{guide.name}: nothing runs blocks of {unknown}"
    programs = [language for language in PROGRAMS if program_of(found, language)]
    if wanted and not set(wanted) & set(programs):
        return
    for language, text in found:
        if language == "toml":
            tomllib.loads(text)
        elif language == "xml":
            xml.etree.ElementTree.fromstring(f'<all xmlns:android="http://schemas.android.com/apk/res/android">{text}</all>')
        elif language == "plist":
            plistlib.loads(f'<?xml version="1.0"?><plist version="1.0"><dict>{text}</dict></plist>'.encode())
        elif language == "sh":
            run("bash", "-euo", "pipefail", "-c", text, stdout=subprocess.DEVNULL)
    for language in programs:
        play, besides = PROGRAMS[language]
        with tempfile.TemporaryDirectory() as work:
            output = play(program_of(found, language), program_of(found, besides), pathlib.Path(work))
        assert output == program_of(found, "text"), f"{guide.name}: its program says\n{output}"
    print(f"{guide.name}: {len(found)} blocks", flush=True)


def main(arguments):
    if arguments == ["--write"]:
        RUST.write_text(RUST_HEAD + program_of(blocks(ROOT / "docs/apps/rust.md"), "rust"))
        return
    assert set(arguments) <= set(PROGRAMS), f"a guide is one of {sorted(PROGRAMS)}"
    for guide in GUIDES:
        check(guide, arguments)


main(sys.argv[1:])
