# Sourced by try_bare.sh and try_qemu.sh: a bare Debian bookworm below $root, and what it takes from this host to get
# at packages. The caller parses its flags with root_flag, sets root and mirror, and calls make_root.

apt_conf=() pip_conf="" ca="" fresh=0 root="" mirror="" mounted=()
name=$(basename "$0" .sh)

fail() { echo "$name: $*" >&2; exit 2; }
# The comment at the head of the script is its help.
usage() { awk 'NR > 1 && !/^#/ {exit} NR > 1 {sub(/^# ?/, ""); print}' "$0"; }

# root_flag "$@": takes one argument that both scripts know; `taken` is how many words it was, 0 if it is none of these.
root_flag() {
  taken=2
  case "$1" in
    --apt-conf) apt_conf+=("$(realpath -e "${2:?}")") ;;
    --pip-conf) pip_conf=$(realpath -e "${2:?}") ;;
    --ca) ca=$(realpath -e "${2:?}") ;;
    --fresh) fresh=1; taken=1 ;;
    -h|--help) usage; exit 0 ;;
    -*) taken=0 ;;
    *) taken=1
       if [ -z "$root" ]; then root=$1; elif [ -z "$mirror" ]; then mirror=$1; else fail "too many arguments"; fi ;;
  esac
}

# Where this host's own Debian packages come from.
host_mirror() {
  { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
    awk '!found && $1 == "URIs:" && $2 ~ /debian\/?$/ {print $2; found = 1}
         !found && $1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /:\/\/.*debian\/?$/) {print $i; found = 1; break}}'
}

leave() {
  local i
  for ((i = ${#mounted[@]} - 1; i >= 0; i--)); do umount -R "${mounted[i]}" || umount -Rl "${mounted[i]}" || true; done
  mounted=()
}
enter() {  # FOLDER: the host's, seen below ROOT (with the cgroups in it); unmounting there never reaches the host
  local d=$root/$1
  mkdir -p "$d"
  mountpoint -q "$d" && return 0
  mount --rbind "/$1" "$d"
  mount --make-rslave "$d"
  mounted+=("$d")
}

# in_root COMMAND...: as root, in the bare system. settings: the environment there.
in_root() { chroot "$root" env -i "${settings[@]}" "$@"; }
install_in_root() {  # PACKAGE...
  in_root sh -c 'dpkg -s "$@" >/dev/null 2>&1 || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@"; } >/tmp/apt.log 2>&1 || { tail -n 20 /tmp/apt.log >&2; exit 1; }' sh "$@" ||
    fail "cannot install $* in $root"
}

make_root() {
  local f variable
  [ -n "$root" ] || { usage >&2; exit 2; }
  [ "$(id -u)" -eq 0 ] || fail "needs root (debootstrap, mount, chroot)"
  command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"
  tree=$(cd "$(dirname "$0")/.." && pwd)
  root=$(realpath -m "$root")
  case "$root" in
    /|"$tree"|"$tree"/*) fail "ROOT must be a folder of its own, outside the tree" ;;
  esac
  [ -n "$mirror" ] || mirror=$(host_mirror)
  [ -n "$mirror" ] || fail "name a Debian mirror"
  if [ "$fresh" = 1 ] && [ -e "$root" ]; then
    if grep -qF " $root/" /proc/self/mounts; then fail "something is mounted below $root"; fi
    rm -rf --one-file-system "$root"
  fi
  if [ ! -f "$root/etc/debian_version" ]; then
    mkdir -p "$(dirname "$root")"
    echo "$name: debootstrap into $root from $mirror" >&2
    debootstrap --variant=minbase bookworm "$root" "$mirror" >"$root.log" 2>&1 ||
      { tail -n 20 "$root.log" >&2; fail "debootstrap failed (all of it: $root.log)"; }
    rm -f "$root.log"
  fi

  cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
  for f in "${apt_conf[@]}"; do cp "$f" "$root/etc/apt/apt.conf.d/"; done
  [ -z "$pip_conf" ] || cp "$pip_conf" "$root/etc/pip.conf"
  settings=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8)
  if [ -n "$ca" ]; then
    cp "$ca" "$root/etc/try_bare_ca.pem"
    echo 'Acquire::https::CaInfo "/etc/try_bare_ca.pem";' >"$root/etc/apt/apt.conf.d/90try-bare"
    settings+=(SSL_CERT_FILE=/etc/try_bare_ca.pem PIP_CERT=/etc/try_bare_ca.pem)
  fi
  for variable in http_proxy https_proxy no_proxy; do  # a proxy that this host goes through
    [ -z "${!variable:-}" ] || settings+=("$variable=${!variable}")
  done
  trap leave EXIT
  enter proc; enter sys; enter dev
}
