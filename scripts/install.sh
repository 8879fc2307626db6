# Sourced by ./quickstart and ./check: installs what is missing, says so, and builds. Only need_packages uses root or sudo.

build_packages=(g++ cmake ninja-build pkg-config libfmt-dev nlohmann-json3-dev liburing-dev libhwloc-dev zlib1g-dev)
test_packages=(libgtest-dev libsimde-dev)
fuzz_packages=(clang libclang-rt-dev)

# need_packages PACKAGE...: Debian packages.
need_packages() {
  local missing=() sudo=() p
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "no Debian: install these, or what is like them, yourself: $*" >&2
    return 0
  fi
  for p in "$@"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "these packages are missing, and there is no sudo: ${missing[*]}" >&2; return 1; }
    sudo=(sudo)
  fi
  echo "installing from Debian: ${missing[*]}" >&2
  "${sudo[@]}" apt-get update -qq >/dev/null || return 1
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# build PRESET TESTS [TARGET...]: configures where needed and builds into build/PRESET. TESTS is ON or OFF; a folder that
# has tests keeps them, so that ./quickstart and ./check do not undo each other's work.
build() {
  local preset=$1 tests=$2 dir=build/$1 cache=build/$1/CMakeCache.txt fresh=()
  shift 2
  mkdir -p build
  if [ -f "$cache" ]; then
    grep -q '^TERRACE_TESTS:BOOL=ON' "$cache" && tests=ON
    [ "$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$cache")" -ef . ] || fresh=(--fresh)  # the tree was moved
  fi
  if [ ! -f "$dir/build.ninja" ] || [ ${#fresh[@]} -gt 0 ] || ! grep -q "^TERRACE_TESTS:BOOL=$tests" "$cache"; then
    cmake "${fresh[@]}" --preset "$preset" -DTERRACE_TESTS="$tests" >"build/$preset.log" 2>&1 ||
      { cat "build/$preset.log" >&2; echo "configuring failed" >&2; return 1; }
  fi
  local quiet=(-- --quiet)
  [ ! -t 1 ] || quiet=()  # a terminal shows ninja's one moving line
  cmake --build --preset "$preset" -j "$(nproc)" ${1:+--target "$@"} "${quiet[@]}"
}
