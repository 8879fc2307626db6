#!/usr/bin/env bash
# scripts/try_bare.sh [FLAGS] ROOT [MIRROR] [-- COMMAND...]
# Runs COMMAND (default ./quickstart) as a newcomer would: from a clean clone of HEAD in a bare Debian bookworm at ROOT.
# Makes ROOT with debootstrap if it is not there yet; a later call clones anew into the same one. Needs root.
#   --apt-conf FILE   copied to /etc/apt/apt.conf.d of ROOT (may be given several times)
#   --pip-conf FILE   copied to /etc/pip.conf of ROOT
#   --ca FILE         certificates that apt and pip trust there, for hosts behind a proxy that has its own
#   --fresh           removes an old ROOT first
set -euo pipefail

fail() { echo "try_bare: $*" >&2; exit 2; }
usage() { sed -n '2,8s/^# \{0,1\}//p' "$0"; }

apt_conf=() pip_conf="" ca="" fresh=0 root="" mirror="" command=(./quickstart)
while [ $# -gt 0 ]; do
  case "$1" in
    --apt-conf) apt_conf+=("$(realpath -e "${2:?}")"); shift 2 ;;
    --pip-conf) pip_conf=$(realpath -e "${2:?}"); shift 2 ;;
    --ca) ca=$(realpath -e "${2:?}"); shift 2 ;;
    --fresh) fresh=1; shift ;;
    -h|--help) usage; exit 0 ;;
    --) shift; [ $# -eq 0 ] || command=("$@"); break ;;
    -*) fail "unknown flag $1 (see --help)" ;;
    *) if [ -z "$root" ]; then root=$1; elif [ -z "$mirror" ]; then mirror=$1; else fail "too many arguments"; fi; shift ;;
  esac
done
[ -n "$root" ] || { usage >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || fail "needs root (debootstrap, mount, chroot)"
command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"
tree=$(cd "$(dirname "$0")/.." && pwd)
root=$(realpath -m "$root")
case "$root" in
  /|"$tree"|"$tree"/*) fail "ROOT must be a folder of its own, outside the tree" ;;
esac

# Where this host's own Debian packages come from.
host_mirror() {
  { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
    awk '!found && $1 == "URIs:" && $2 ~ /debian\/?$/ {print $2; found = 1}
         !found && $1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /:\/\/.*debian\/?$/) {print $i; found = 1; break}}'
}
[ -n "$mirror" ] || mirror=$(host_mirror)
[ -n "$mirror" ] || fail "name a Debian mirror"

mounted=()
leave() {
  local i
  for ((i = ${#mounted[@]} - 1; i >= 0; i--)); do umount -R "${mounted[i]}" || umount -Rl "${mounted[i]}" || true; done
  mounted=()
}
trap leave EXIT
enter() {  # FOLDER: the host's, seen below ROOT (with the cgroups in it); unmounting there never reaches the host
  local d=$root/$1
  mkdir -p "$d"
  mountpoint -q "$d" && return 0
  mount --rbind "/$1" "$d"
  mount --make-rslave "$d"
  mounted+=("$d")
}

if [ "$fresh" = 1 ] && [ -e "$root" ]; then
  if grep -qF " $root/" /proc/self/mounts; then fail "something is mounted below $root"; fi
  rm -rf --one-file-system "$root"
fi
if [ ! -f "$root/etc/debian_version" ]; then
  mkdir -p "$(dirname "$root")"
  echo "try_bare: debootstrap into $root from $mirror" >&2
  debootstrap --variant=minbase bookworm "$root" "$mirror" >"$root.log" 2>&1 ||
    { tail -n 20 "$root.log" >&2; fail "debootstrap failed (all of it: $root.log)"; }
  rm -f "$root.log"
fi

cp -L /etc/resolv.conf "$root/etc/resolv.conf"
for f in "${apt_conf[@]}"; do cp "$f" "$root/etc/apt/apt.conf.d/"; done
[ -z "$pip_conf" ] || cp "$pip_conf" "$root/etc/pip.conf"
settings=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8)
if [ -n "$ca" ]; then
  cp "$ca" "$root/etc/try_bare_ca.pem"
  echo 'Acquire::https::CaInfo "/etc/try_bare_ca.pem";' >"$root/etc/apt/apt.conf.d/90try-bare"
  settings+=(SSL_CERT_FILE=/etc/try_bare_ca.pem PIP_CERT=/etc/try_bare_ca.pem)
fi
for name in http_proxy https_proxy no_proxy; do  # a proxy that this host goes through
  [ -z "${!name:-}" ] || settings+=("$name=${!name}")
done

rm -rf "$root/home/terrace"
git -c safe.directory='*' clone --quiet --no-local "$tree" "$root/home/terrace"
enter proc; enter sys; enter dev
echo "try_bare: ${command[*]} in $root" >&2
SECONDS=0 status=0
chroot "$root" env -i "${settings[@]}" sh -c 'cd /home/terrace && exec "$@"' sh "${command[@]}" || status=$?
echo "try_bare: exit code $status after $SECONDS s" >&2
exit "$status"
