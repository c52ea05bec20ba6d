#!/usr/bin/env bash
# Runs every program of the package clave-examples, one after the other, each with a time limit.
set -euo pipefail
cd "$(dirname "$0")/.."
limit_s=120
mapfile -t programs < <(cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "clave-examples":
        for target in package["targets"]:
            for kind in {"bin", "example"} & set(target["kind"]):
                print(f"--{kind}", target["name"])
')
[ "${#programs[@]}" -gt 0 ] || { echo "SKIPPED: examples: there is no program in examples/ yet"; exit; }
cargo build --quiet -p clave-examples --bins --examples
for program in "${programs[@]}"; do
    echo "── ${program#* }"
    # shellcheck disable=SC2086 # two words: the kind and the name
    timeout "$limit_s" cargo run --quiet -p clave-examples $program < /dev/null
done
echo "${#programs[@]} examples ran"
