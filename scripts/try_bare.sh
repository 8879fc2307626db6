#!/usr/bin/env bash
# scripts/try_bare.sh [FLAGS] ROOT [MIRROR] [-- COMMAND...]
# Runs COMMAND (default ./quickstart) as a newcomer would: from a clean clone of HEAD in a bare Debian bookworm at ROOT.
# Makes ROOT with debootstrap if it is not there yet; a later call clones anew into the same one. Needs root.
#   --user NAME       runs it there as an ordinary user, who may use sudo; afterwards the clone must be the user's alone
#   --apt-conf FILE   copied to /etc/apt/apt.conf.d of ROOT (may be given several times)
#   --pip-conf FILE   copied to /etc/pip.conf of ROOT
#   --ca FILE         certificates that apt and pip trust there, for hosts behind a proxy that has its own
#   --fresh           removes an old ROOT first
set -euo pipefail
. "$(dirname "$0")/bare_root.sh"

command=(./quickstart) user=root home=/home
while [ $# -gt 0 ]; do
  root_flag "$@"
  if [ "$taken" = 0 ]; then
    case "$1" in
      --user) user=${2:?}; home=/home/$user; taken=2 ;;
      --) shift; [ $# -eq 0 ] || command=("$@"); break ;;
      *) fail "unknown flag $1 (see --help)" ;;
    esac
  fi
  shift "$taken"
done
[[ $user =~ ^[a-z][a-z0-9_-]*$ ]] || fail "no name of a user: $user"
make_root

rm -rf "$root$home/terrace"
if [ "$user" != root ]; then
  install_in_root sudo
  in_root sh -c 'id "$1" >/dev/null 2>&1 || useradd --shell /bin/bash "$1"' sh "$user"
  printf '%s\n' "$user ALL=(ALL) NOPASSWD: ALL" 'Defaults env_keep += "http_proxy https_proxy no_proxy"' \
    >"$root/etc/sudoers.d/try_bare"
  rm -rf "$root$home"  # nothing of an earlier call
  install -d "$root$home"
  settings+=("HOME=$home" "USER=$user" "LOGNAME=$user")
fi
clone=$home/terrace
git -c safe.directory='*' clone --quiet --no-local "$tree" "$root$clone"
[ "$user" = root ] || in_root chown -R "$user:" "$home"

echo "$name: ${command[*]} in $root as $user" >&2
SECONDS=0 status=0
in_root setpriv --reuid "$user" --regid "$(in_root id -g "$user")" --init-groups \
  sh -c 'cd "$1" && shift && exec "$@"' sh "$clone" "${command[@]}" || status=$?
echo "$name: exit code $status after $SECONDS s" >&2
foreign=$(in_root find "$clone" ! -user "$user")
if [ -n "$foreign" ]; then
  printf '%s: not owned by %s:\n%s\n' "$name" "$user" "$foreign" >&2
  [ "$status" -ne 0 ] || status=1
fi
exit "$status"
