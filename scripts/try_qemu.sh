#!/usr/bin/env bash
# scripts/try_qemu.sh [FLAGS] ROOT [MIRROR]
# Shows that a budget is held under cgroup v2: boots Debian bookworm's own kernel in QEMU, once without systemd and once
# with it, and runs the tool there at 32, 64 and 128 MiB in every situation a cgroup can be had (or not): as root, as an
# ordinary user, delegated, in a scope of systemd's. Prints a table; exit code 1 if one row misses its bar.
# ROOT is a bare bookworm of this script's own, made with debootstrap if it is not there yet. Needs root, and the packages
# debootstrap, e2fsprogs and qemu-system-x86. With KVM it takes a minute or two; without it QEMU translates: half an hour.
#   --model FILE      GGUF file to run (default: the one that ./quickstart fetches)
#   --terrace FILE    the tool (default: builds build/release/terrace)
#   --budgets "A B"   in MiB (default "32 64 128")
#   --tcg             translates even where KVM could be used
#   --apt-conf FILE   copied to /etc/apt/apt.conf.d of ROOT (may be given several times)
#   --pip-conf FILE   copied to /etc/pip.conf of ROOT
#   --ca FILE         certificates that apt and pip trust there, for hosts behind a proxy that has its own
#   --fresh           removes an old ROOT first
set -euo pipefail
. "$(dirname "$0")/bare_root.sh"

here=$(cd "$(dirname "$0")/.." && pwd)
model=$here/models/SmolLM2-135M-Instruct.Q4_1.gguf terrace="" budgets="32 64 128" tcg=0
while [ $# -gt 0 ]; do
  root_flag "$@"
  if [ "$taken" = 0 ]; then
    taken=2
    case "$1" in
      --model) model=${2:?} ;;
      --terrace) terrace=${2:?} ;;
      --budgets) budgets=${2:?} ;;
      --tcg) tcg=1; taken=1 ;;
      *) fail "unknown flag $1 (see --help)" ;;
    esac
  fi
  shift "$taken"
done
[ -f "$model" ] || fail "no model at $model: ./quickstart fetches one, or --model FILE"
model=$(realpath "$model")
command -v qemu-system-x86_64 >/dev/null || fail "qemu is missing: apt-get install qemu-system-x86"
command -v mke2fs >/dev/null || fail "mke2fs is missing: apt-get install e2fsprogs"
if [ -n "$terrace" ]; then
  terrace=$(realpath -e "$terrace")
else
  terrace=$here/build/release/terrace
  (cd "$here" && . scripts/install.sh && build release OFF terrace >&2)
fi
make_root

install_in_root linux-image-cloud-amd64 systemd-sysv libpam-systemd dbus dbus-user-session jq
try=$root/try
rm -rf "$try"
mkdir -p "$try"
cp "$terrace" "$try/terrace"
cp "$model" "$try/model.gguf"
cp "$here/scripts/try_qemu_guest.sh" "$try/guest.sh"
in_root sh -c 'id tester >/dev/null 2>&1 || useradd --create-home --shell /bin/bash tester'
cat >"$root/etc/systemd/system/try.service" <<'UNIT'
[Unit]
After=multi-user.target dbus.service systemd-logind.service
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/try/guest.sh systemd
StandardOutput=tty
StandardError=inherit
TTYPath=/dev/ttyS1
UNIT
cat >"$root/etc/systemd/system/try.target" <<'UNIT'
[Unit]
Requires=multi-user.target
After=multi-user.target
Wants=try.service
AllowIsolate=yes
UNIT
leave

work=$(mktemp -d "$root.try_XXXXXX")
trap 'leave; rm -rf "$work"' EXIT
echo "$name: making the disk" >&2
size=$(($(du -sm --one-file-system "$root" | cut -f1) + 512))
mke2fs -q -F -t ext4 -d "$root" "$work/disk" "${size}M" >/dev/null
accelerator=(-accel tcg,thread=multi -cpu max) how=TCG
# A virtual machine may have a /dev/kvm that cannot start another one: its processor says so.
if [ $tcg = 0 ] && [ -r /dev/kvm ] && [ -w /dev/kvm ] && grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
  accelerator=(-accel kvm -cpu host) how=KVM
fi

# boot WORD...: one boot with these words on the kernel's command line. What the guest reports goes to $work/report.
boot() {
  echo "$name: booting with $how: $*" >&2
  timeout 3600 qemu-system-x86_64 "${accelerator[@]}" -smp 2 -m 1536 -display none -nodefaults -no-reboot \
    -kernel "$(echo "$root"/boot/vmlinuz-*)" -initrd "$(echo "$root"/boot/initrd.img-*)" \
    -append "root=/dev/vda rw console=ttyS0 quiet budgets=${budgets// /,} $*" \
    -drive "file=$work/disk,format=raw,if=virtio,snapshot=on" -device virtio-rng-pci \
    -serial "file:$work/console" -serial "file:$work/report.now" 2>"$work/qemu" ||
    { tail -n 20 "$work/qemu" "$work/console" >&2; fail "the virtual machine failed"; }
  tr -d '\r' <"$work/report.now" >>"$work/report"
  grep -q '^end' "$work/report.now" || { tail -n 40 "$work/console" "$work/report.now" >&2; fail "the guest did not come to its end"; }
}
boot init=/try/guest.sh
boot systemd.unit=try.target
grep -v '^end' "$work/report" | awk -F '|' '
  BEGIN {format = "%-44s %7s %-34s %9s %9s %-s\n"; printf format, "situation", "budget", "enforced", "reported", "cgroup", "bar"}
  /^row/ {printf format, $2, $3, $4, $5, $6, $7; rows++; if ($7 != "kept") missed++; if (!ids) ids = $8; else if (ids != $8) others++}
  !/^row/ {print; if (/MISSED/) missed++}
  END {
    printf "%d runs, %d missed their bar; token ids: %s\n", rows, missed, others ? others " DIFFER" : "the same everywhere"
    exit missed || others || !rows
  }'
