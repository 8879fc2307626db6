# Sourced by ./quickstart and ./check: installs what is missing, and says so. Only this uses root or sudo.

# need_packages PACKAGE...: Debian packages.
need_packages() {
  local missing=() p
  for p in "$@"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "these packages are missing, and there is no sudo: ${missing[*]}" >&2; return 1; }
    sudo=(sudo)
  fi
  echo "installing from Debian: ${missing[*]}" >&2
  "${sudo[@]}" apt-get update -qq >/dev/null
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

build_packages=(g++ cmake ninja-build pkg-config libfmt-dev nlohmann-json3-dev libtomlplusplus-dev liburing-dev libhwloc-dev)
test_packages=(libgtest-dev libsimde-dev)

# build PRESET TARGET...: configures once, then builds.
build() {
  local preset=$1 tests=$2; shift 2
  [ -f "build/$preset/build.ninja" ] && grep -q "TERRACE_TESTS:BOOL=$tests" "build/$preset/CMakeCache.txt" ||
    cmake --preset "$preset" -DTERRACE_TESTS="$tests" >"/tmp/terrace-cmake.$$" || { cat "/tmp/terrace-cmake.$$"; rm -f "/tmp/terrace-cmake.$$"; return 1; }
  rm -f "/tmp/terrace-cmake.$$"
  cmake --build --preset "$preset" ${1:+--target "$@"}
}
