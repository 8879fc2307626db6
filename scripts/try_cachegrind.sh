#!/usr/bin/env bash
# Compares the ledger of `terrace bench attention` with an independent simulation of a cache: valgrind's cachegrind over
# the AVX2 kernels, one batch element, a fully associative last level of 1 MiB. Cachegrind counts lines that miss, and
# no write-backs; so does this. Fails where they differ by more than a tenth. Takes some minutes.
#   scripts/try_cachegrind.sh [HEADS [LENGTH]]      4 heads of 64, length 1024
set -euo pipefail
cd "$(dirname "$0")/.."
heads=${1:-4} length=${2:-1024}
. scripts/install.sh
need_packages "${build_packages[@]}" "${test_packages[@]}" valgrind python3
build release ON terrace attention_once >&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
missed() {  # WHAT: lines of data that miss the last level, read or written
  valgrind --tool=cachegrind --cache-sim=yes --LL=1048576,16384,64 --cachegrind-out-file="$work/$1" \
    build/release/attention_once "$1" "$heads" "$length" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  awk '/^events:/ {for (i = 2; i <= NF; ++i) at[$i] = i} /^summary:/ {print $at["DLmr"] + $at["DLmw"]}' "$work/$1"
}
build/release/terrace bench attention --heads "$heads" --length "$length" --batch 1 --cache 1MiB \
  --json "$work/ledger.json" >/dev/null
none=$(missed none)
failed=0
for what in forward backward; do
  lines=$(($(missed $what) - none))
  python3 - "$work/ledger.json" "$what" "$lines" <<'PY' || failed=1
import json, sys
rows = {r["name"]: r for r in json.load(open(sys.argv[1]))["rows"]}
ledger, lines = rows["flash " + sys.argv[2]]["missed"] // 64, int(sys.argv[3])
print(f"{sys.argv[2]}: ledger {ledger} lines, cachegrind {lines}, ratio {ledger / lines:.3f}")
sys.exit(not 0.9 <= ledger / lines <= 1.1)
PY
done
[ $failed = 0 ] || { echo "the ledger and cachegrind differ by more than a tenth" >&2; exit 1; }
