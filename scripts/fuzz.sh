#!/usr/bin/env bash
# Fuzzes one reader of untrusted files with libFuzzer and the address and undefined-behaviour sanitizers (clang).
#
#   scripts/fuzz.sh TARGET SECONDS    TARGET: gguf, tokenizer, safetensors, idx or machine
#   scripts/fuzz.sh TARGET --merge    takes what was found since into the kept corpus, tests/data/fuzz/TARGET, smallest first
#
# New inputs go to build/fuzz/corpus/TARGET, failing ones to build/fuzz/failures/TARGET-*: give such a file to
# build/fuzz/fuzz_TARGET to run it again. Exit code: 0 if nothing failed.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-} what=${2:-}
case "$target" in
  gguf|tokenizer|safetensors|idx|machine) ;;
  -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) what="" ;;
esac
[[ $what =~ ^[0-9]+$ || $what == --merge ]] || { echo "usage: scripts/fuzz.sh gguf|tokenizer|safetensors|idx|machine SECONDS|--merge" >&2; exit 2; }

. scripts/install.sh
need_packages "${build_packages[@]}" "${test_packages[@]}" "${fuzz_packages[@]}"
build fuzz ON "fuzz_$target" >&2

kept=tests/data/fuzz/$target found=build/fuzz/corpus/$target failures=build/fuzz/failures
mkdir -p "$found" "$failures"
seeds=("$kept")
[ "$target" != machine ] || seeds+=(machines)
program=build/fuzz/fuzz_$target
# Targets hold the sum of what is allocated to four times the input; these catch what goes far beyond, and hangs.
limits=(-timeout=10 -malloc_limit_mb=64 -rss_limit_mb=1024 -max_len=65536)

if [ "$what" = --merge ]; then
  # Those with names are kept as they are: each is a seed or was a defect. The others bear the SHA-1 of what they hold.
  hashed=(-type f -regextype posix-extended -regex '.*/[0-9a-f]{40}')
  named=$(find "$kept" -type f ! \( "${hashed[@]}" \) -exec sha1sum {} +)
  new=$(mktemp -d build/fuzz/merge.XXXXXX)
  # Counters off: an input is kept for a branch that no other reaches, not for how often it takes one.
  "$program" -set_cover_merge=1 -use_counters=0 "${limits[@]}" "$new" "$kept" "$found"
  find "$kept" "${hashed[@]}" -delete
  for f in "$new"/*; do
    grep -q "^$(basename "$f")" <<<"$named" || mv "$f" "$kept"
  done
  rm -r "$new"
  du -sh --apparent-size "$kept"
  exit 0
fi
"$program" -max_total_time="$what" "${limits[@]}" -print_final_stats=1 -artifact_prefix="$failures/$target-" \
  "$found" "${seeds[@]}"
