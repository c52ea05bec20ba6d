#!/usr/bin/env bash
# Switches each rule off that core/engine/src/mutation.rs and crdt/src/mutation.rs name, one at a time, and runs the
# simulator until it fails. Prints a table: which check caught the rule, under which plan, at which seed, after how many.
#
#   scripts/mutations.sh                  all rules; exit code 1 if one is not caught
#   scripts/mutations.sh author-in d1     these only
#   scripts/mutations.sh --write          all rules; scripts/mutations.txt then says where each was caught
#   scripts/mutations.sh --write d1       these only; of the others it says what it said
#
# MUTATIONS_JOBS: how many rules at once (default: processors). MUTATIONS_SEEDS: how many seeds of each plan (default 40).
# MUTATIONS_DEBUG=1: a debug build, which is there sooner and serves where a scenario is what catches a rule.
# Where scripts/mutations.txt says that a rule was caught last is tried first, then the plans below from seed 0, then the
# scenarios in core/sim/tests. A seed or scenario that fails with a rule off is run once more with all rules on: if it fails
# then too it proves nothing, and is left out.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
work=$target/mutations
# Copies, so that what is built meanwhile does not change what runs.
runner=$work/clave-sim
scenarios=$work/scenarios
# A rule a line: its name, the seed, the plan; or the scenario, and the file it is in.
last=scripts/mutations.txt
seeds=${MUTATIONS_SEEDS:-40}
plans=("--devices 6 --mix calm" "--devices 6 --mix admins" "--devices 6 --mix hostile" "--devices 6 --mix calm --strays"
    "--devices 6 --mix calm --guests" "--devices 6 --mix calm --history" "--devices 10 --mix admins"
    "--devices 6 --mix admins --relays 2" "--devices 6 --mix calm --bundles" "--devices 9 --mix life")
for attack in lure two-changes two-commits commit-spam unjustified-add unjustified-removal false-epoch false-roster early-lure outcast \
    forged-author foreign-actor poisoned-keys; do
    plans+=("--devices 6 --mix hostile --rogues 2 --attack $attack")
done
plans+=("--devices 6 --mix hostile --rogues 2 --bundles --attack false-bundle"
    "--devices 6 --mix hostile --rogues 2 --history --attack poisoned-keys" "--devices 5 --mix hostile --suite x-wing")

# Runs a plan with a rule off, or none, from a seed on, so many, until one fails. Prints what the runner prints.
run() {
    local rule=$1 from=$2 count=$3 plan=$4 out
    # shellcheck disable=SC2086
    out=$(CLAVE_MUTATION=$rule "$runner" --jobs 1 --until-failure --seed "$from" --seeds "$count" $plan 2>&1 || true)
    # The last line has the count of runs: without it something else went wrong.
    grep -q '^{"runs"' <<< "$out" || { printf '%s\n' "$out" > "$work/${rule:-none}.err"; return 1; }
    printf '%s\n' "$out"
}

# Whether a seed of a plan ends well with all rules on.
is_sound() {
    local file
    file=$work/sound-$1-$(tr -c 'a-z0-9\n' '-' <<< "$2")
    if [ ! -s "$file" ]; then
        run "" "$1" 1 "$2" | grep -oP '^\{"runs":1,"failed":\K[01]' > "$file.$$"
        mv "$file.$$" "$file"
    fi
    [ "$(cat "$file")" = 0 ]
}

# Looks for a failure of a plan with a rule off, and notes it.
search() {
    local rule=$1 from=$2 end=$(($2 + $3)) plan=$4 out seed checks
    while [ "$from" -lt "$end" ]; do
        out=$(run "$rule" "$from" $((end - from)) "$plan") || { echo "error" > "$work/$rule"; return 0; }
        runs=$((runs + $(grep -oP '^\{"runs":\K[0-9]+' <<< "$out")))
        seed=$(grep -m1 -oP '^seed \K[0-9]+(?=, [0-9]+ devices)' <<< "$out" || true)
        [ -n "$seed" ] || return 1
        if is_sound "$seed" "$plan"; then
            checks=$(grep -P '^  (?!replay)' <<< "$out" | sed 's/^  //; s/: .*//' | awk '!seen[$0]++' | paste -sd, | sed 's/,/, /g')
            echo "caught|$checks|$plan|$seed|$runs" > "$work/$rule"
            return 0
        fi
        from=$((seed + 1))
    done
    return 1
}

# Runs the scenarios of a file with a rule off, or the one that is named, and notes the first that fails.
play() {
    local rule=$1 file=$2 only=${3:-} test
    while read -r test; do
        if "$scenarios/$file" --exact "$test" > /dev/null 2>&1; then
            echo "caught|a scenario|core/sim/tests/$file|$test|$runs" > "$work/$rule"
            return 0
        fi
    done < <(CLAVE_MUTATION=$rule "$scenarios/$file" ${only:+--exact "$only"} --test-threads 1 2>&1 |
        grep -oP '^test \K\S+(?= .*FAILED$)')
    return 1
}

one() {
    local rule=$1 plan seed known file
    runs=0
    known=$(grep -P "^$rule\t" "$last" || true)
    if [ -n "$known" ]; then
        IFS=$'\t' read -r _ seed plan <<< "$known"
        if [[ $plan == core/sim/tests/* ]]; then
            play "$rule" "${plan##*/}" "$seed" && return
        else
            search "$rule" "$seed" 1 "$plan" && return
            plans=("$plan" "${plans[@]}")
        fi
    fi
    for plan in "${plans[@]}"; do
        search "$rule" 0 "$seeds" "$plan" && return
    done
    for file in "$scenarios"/*; do
        play "$rule" "${file##*/}" && return
    done
    echo "survived||||$runs" > "$work/$rule"
}

# What was found, of the rules in `rules`, described by `list`.
table() {
    local rule covers says verdict checks plan seed runs
    bad=0
    echo "| rule | number | what it says | caught by | plan | seed | runs |"
    echo "| --- | --- | --- | --- | --- | --- | --- |"
    for rule in "${rules[@]}"; do
        IFS=$'\t' read -r _ covers says <<< "$(grep -P "^$rule\t" <<< "$list")" || { echo "there is no rule $rule" >&2; exit 2; }
        IFS='|' read -r verdict checks plan seed runs < "$work/$rule"
        case $verdict in
            caught) echo "| \`$rule\` | $covers | $says | $checks | \`$plan\` | $seed | $runs |" ;;
            survived) echo "| \`$rule\` | $covers | $says | **survived** | | | $runs |" ;;
            *) echo "| \`$rule\` | $covers | $says | **the run did not end**, see $work/$rule.err | | | |" ;;
        esac
        [ "$verdict" = caught ] || bad=$((bad + 1))
    done
    echo
    echo "${#rules[@]} rules: $((${#rules[@]} - bad)) caught, $bad not. Each seed was run with all rules on too; left out, as they fail so:" \
        "$(grep -lx 1 "$work"/sound-* 2> /dev/null | sed 's/.*sound-//' | paste -sd' ' | grep . || echo none)"
}

# Notes where each rule was caught, in the order of the rules; of those that were not tried what was noted before.
write() {
    local rule verdict plan seed known
    while read -r rule; do
        known=$(grep -P "^$rule\t" "$last" || true)
        verdict=
        [ ! -f "$work/$rule" ] || IFS='|' read -r verdict _ plan seed _ < "$work/$rule"
        case $verdict in
            caught) printf '%s\t%s\t%s\n' "$rule" "$seed" "$plan" ;;
            survived) ;;
            *) [ -z "$known" ] || printf '%s\n' "$known" ;;
        esac
    done < <(cut -f1 <<< "$list") > "$work/last"
    cp "$work/last" "$last"
}

if [ "${1:-}" = --one ]; then
    one "$2"
    exit
fi

writes=
if [ "${1:-}" = --write ]; then
    writes=yes
    shift
fi
jobs=${MUTATIONS_JOBS:-$(nproc)}
profile=(--release) built=release
[ -z "${MUTATIONS_DEBUG:-}" ] || profile=() built=debug
cargo build "${profile[@]}" --quiet -p clave-sim --features mutations
rm -rf "$work"
mkdir -p "$scenarios"
cp "$target/$built/clave-sim" "$runner"
# Random schedules are not scenarios: the plans above are more of them.
cargo test "${profile[@]}" -p clave-sim --features mutations --no-run 2>&1 |
    grep -oP 'Executable tests/\K.*(?=\)$)' | sed 's/\.rs (/ /' | while read -r name file; do
    [ "$name" = random ] || cp "$file" "$scenarios/$name"
done
list=$("$runner" --rules)
rules=("$@")
[ $# -gt 0 ] || mapfile -t rules < <(cut -f1 <<< "$list")
printf '%s\0' "${rules[@]}" | xargs -0 -P "$jobs" -n 1 "$0" --one
table
[ -z "$writes" ] || write
[ "$bad" -eq 0 ]
