#!/usr/bin/env bash
# Switches each rule off that core/engine/src/mutation.rs and crdt/src/mutation.rs name, one at a time, and runs the
# simulator until it fails. Prints a table: which check caught the rule, under which plan, at which seed, after how many.
#
#   scripts/mutations.sh                  all rules; exit code 1 if one is not caught and not excused
#   scripts/mutations.sh author-in d1     these only
#
# MUTATIONS_JOBS: how many rules at once (default: processors). MUTATIONS_SEEDS: how many seeds of each plan (default 40).
# A control run without a mutation goes first; seeds that fail there are left out everywhere.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
work=$target/mutations
# A copy, so that what is built meanwhile does not change what runs.
runner=$work/clave-sim
seeds=${MUTATIONS_SEEDS:-40}
plans=("--devices 6 --mix calm" "--devices 6 --mix admins" "--devices 6 --mix hostile" "--devices 6 --mix calm --strays")

# What a rule is tried with first, if it is reached seldom: it decides nothing unless that happens.
targeted() {
    case $1 in
        commit-true | commit-adds) echo "--devices 6 --mix hostile --attack unjustified-add" ;;
        commit-removes | evicted-judges) echo "--devices 6 --mix hostile --attack unjustified-removal" ;;
        one-history) echo "--devices 6 --mix hostile --attack two-changes" ;;
        fork-removed-first) echo "--devices 6 --mix hostile --attack commit-spam" ;;
        fork-id) echo "--devices 6 --mix hostile --attack two-commits" ;;
        fork-* | key* | worn | plea* | renews-told | commit* | adds-missing) echo "--devices 10 --mix admins" ;;
    esac
}

# Rules that no run can catch, each with the reason and the test that fails without it.
excused() {
    case $1 in
        commit-true) echo "no rogue lies about where a commit leads|members::a_commit_that_lies_about_its_epoch_or_its_author_is_refused" ;;
        renews-told) echo "no rogue renews anybody|members::a_commit_that_lies_about_whom_it_renews_is_refused" ;;
        history-policy) echo "no run has a policy other than *full*|history::a_newcomer_gets_no_key_from_before_it_came" ;;
    esac
}

# How a plan is named in a file.
file_of() { echo "$work/control-$(tr -c 'a-z0-9\n' '-' <<< "$1")"; }

control() {
    local file
    file=$(file_of "$1")
    # shellcheck disable=SC2086
    "$runner" --jobs 1 --seeds "$seeds" $1 2> "$file.err" > "$file.out" || true
    # A line of each seed that fails, and the last line with the count: anything else is no run.
    grep -q '^{"runs"' "$file.out" || { echo "the control run of $1 did not end; see $file.err" >&2; exit 255; }
    { grep -oP '^seed \K[0-9]+(?=, [0-9]+ devices)' "$file.out" || true; } | paste -sd, > "$file"
}

one() {
    local rule=$1 plan out seed checks runs=0 first
    first=$(targeted "$rule")
    local all=("${plans[@]}")
    [ -n "$first" ] && all=("$first" "${all[@]}")
    for plan in "${all[@]}"; do
        # shellcheck disable=SC2086
        out=$(CLAVE_MUTATION=$rule "$runner" --jobs 1 --until-failure --seeds "$seeds" --skip "$(cat "$(file_of "$plan")")," $plan 2>&1 || true)
        grep -q '^{"runs"' <<< "$out" || { printf '%s\n' "$out" > "$work/$rule.err"; echo "error" > "$work/$rule"; return; }
        runs=$((runs + $(grep -oP '^\{"runs":\K[0-9]+' <<< "$out")))
        seed=$(grep -m1 -oP '^seed \K[0-9]+(?=, [0-9]+ devices)' <<< "$out" || true)
        if [ -n "$seed" ]; then
            checks=$(grep -P '^  (?!replay)' <<< "$out" | sed 's/^  //; s/: .*//' | awk '!seen[$0]++' | paste -sd, | sed 's/,/, /g')
            echo "caught|$checks|$plan|$seed|$runs" > "$work/$rule"
            return
        fi
    done
    echo "survived||||$runs" > "$work/$rule"
}

# What was found, of the rules in `rules`, described by `list`.
table() {
    local rule covers says verdict checks plan seed runs excuse file
    bad=0 caught=0 excuses=0
    echo "| rule | number | what it says | caught by | plan | seed | runs |"
    echo "| --- | --- | --- | --- | --- | --- | --- |"
    for rule in "${rules[@]}"; do
        IFS=$'\t' read -r _ covers says <<< "$(grep -P "^$rule\t" <<< "$list")" || { echo "there is no rule $rule" >&2; exit 2; }
        IFS='|' read -r verdict checks plan seed runs < "$work/$rule"
        case $verdict in
            caught)
                caught=$((caught + 1))
                echo "| \`$rule\` | $covers | $says | $checks | \`$plan\` | $seed | $runs |"
                ;;
            survived)
                excuse=$(excused "$rule")
                if [ -n "$excuse" ]; then
                    excuses=$((excuses + 1))
                    echo "| \`$rule\` | $covers | $says | none: ${excuse%|*}; \`${excuse#*|}\` | | | $runs |"
                else
                    bad=$((bad + 1))
                    echo "| \`$rule\` | $covers | $says | **survived** | | | $runs |"
                fi
                ;;
            *)
                bad=$((bad + 1))
                echo "| \`$rule\` | $covers | $says | **the run did not end**, see $work/$rule.err | | | |"
                ;;
        esac
    done
    echo
    echo "${#rules[@]} rules: $caught caught, $excuses excused, $bad not caught. Left out because they fail without a mutation:"
    for file in "$work"/control-*.out; do
        echo "$(basename "${file%.out}"): $(grep -oP '^\{"runs":\K[0-9]+' "$file") seeds, without $(cat "${file%.out}" | grep . || echo none)"
    done
    [ "$bad" -eq 0 ]
}

case ${1:-} in
    --control) control "$2"; exit ;;
    --one) one "$2"; exit ;;
esac

jobs=${MUTATIONS_JOBS:-$(nproc)}
cargo build --release --quiet -p clave-sim --features mutations
mkdir -p "$work"
rm -f "$work"/*
cp "$target/release/clave-sim" "$runner"
list=$("$runner" --rules)
rules=("$@")
[ $# -gt 0 ] || mapfile -t rules < <(cut -f1 <<< "$list")
{ printf '%s\n' "${plans[@]}"; for rule in "${rules[@]}"; do targeted "$rule"; done; } | sort -u |
    tr '\n' '\0' | xargs -0 -P "$jobs" -n 1 "$0" --control
printf '%s\0' "${rules[@]}" | xargs -0 -P "$jobs" -n 1 "$0" --one
table
