#!/bin/bash
# What try_qemu.sh runs inside the virtual machine: as init where there is no systemd, or with the argument "systemd" as
# a service. Its report goes to the second serial line, one row a run:
#   row|situation|budget in MiB|how it was enforced|peak it reports|peak of its cgroup|what was missed|token ids
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
out=/run/try   # for everybody
cg=/sys/fs/cgroup

report() { printf '%s\n' "$*"; }
kills() { awk '$1 == "oom_kill" {print $2}' /proc/vmstat; }
mib() { awk -v b="${1:-0}" 'BEGIN {printf "%.1f", b / 1048576}'; }
# Cgroups that the tool makes: children of its own, and systemd's scopes.
made() { find $cg -depth -type d -name 'terrace[.-]*' 2>/dev/null; }
limited() { made | grep -v '\.waits$'; }  # where the tool itself waits there is no limit

# While the tool runs: the last peak seen of the cgroup that it made, $1 if given.
watch_peak() {
  local g p
  while [ ! -e $out/stop ]; do
    for g in ${1:-$(limited)}; do
      p=$(cat "$g/memory.peak" 2>/dev/null) && [ -n "$p" ] && echo "$p" >$out/watched &&
        grep -E '^(anon|file|kernel|pagetables|percpu|slab|shmem|file_mapped) ' "$g/memory.stat" >$out/stat.new 2>/dev/null &&
        mv $out/stat.new $out/stat
    done
    sleep 0.05
  done
}

# run_tool BUDGET ENFORCE: the command line, in $words.
run_words() {
  words=(/try/terrace run /try/model.gguf --prompt "Terraces are" --max-tokens "${tokens:-16}" --ignore-eos --budget "$1MiB"
    --enforce "$2" --machine $out/host.toml --json $out/run.json)
}

# try SITUATION EXPECT ENFORCE [PREFIX...]: at every budget the tool, started through PREFIX. EXPECT: kernel, none, or the
# cgroup that it is started in, whose peak counts.
try() {
  local situation=$1 expect=$2 enforce=$3 budget missed before watcher code enforced how peak watched ids
  shift 3
  for budget in ${budgets//,/ }; do
    rm -f $out/run.json $out/watched $out/stat $out/stop
    : >$out/err
    chmod 666 $out/err
    echo 1 >/proc/sys/vm/drop_caches
    before=$(kills)
    case $expect in /*) watch_peak "$expect" & ;; *) watch_peak & ;; esac
    watcher=$!
    run_words "$budget" "$enforce"
    "$@" "${words[@]}" >$out/text 2>$out/err
    code=$?
    touch $out/stop
    wait $watcher
    missed=""
    [ $code = 0 ] || missed+=" exit-code-$code"
    enforced=$(jq .enforced $out/run.json 2>/dev/null)
    peak=$(jq .peak_bytes $out/run.json 2>/dev/null)
    ids=$(jq -c .output_ids $out/run.json 2>/dev/null)
    watched=$(cat $out/watched 2>/dev/null)
    how=$(sed -n 's/^ *budget .*iB *//p' $out/err | head -n 1)
    case $expect in
      kernel) [ "$enforced" = true ] || missed+=" not-enforced"
              [ "$(jq -r .peak_source $out/run.json 2>/dev/null)" = cgroup ] || missed+=" peak-not-of-cgroup"
              [ "${watched:-0}" -gt $((budget << 19)) ] || missed+=" no-cgroup-seen" ;;
      none) [ "$enforced" = false ] || missed+=" enforced"
            [ "$enforce" = none ] || [ "$(grep -c 'not enforced by the kernel' $out/err)" = 1 ] || missed+=" not-said-in-one-line" ;;
    esac
    [ "${peak:-0}" -gt 0 ] && [ "$peak" -le $((budget << 20)) ] || missed+=" reported-peak"
    [ "${watched:-0}" -le $((budget << 20)) ] || missed+=" peak-of-cgroup"
    [ "$(kills)" = "$before" ] || missed+=" killed"
    jq -r .io $out/run.json 2>/dev/null | grep -q direct || missed+=" no-direct-io"
    sleep 0.2
    [ -z "$(made)" ] || missed+=" left-behind:$(made | tr '\n' ' ')"
    report "row|$situation|$budget|$how|$(mib "$peak")|$([ -z "$watched" ] && echo - || mib "$watched")|$([ -z "$missed" ] && echo kept || echo "$missed")|$ids"
    [ -z "$missed" ] || cat $out/stat $out/err 2>/dev/null | sed 's/^/  /'
  done
}

# interrupt SITUATION [PREFIX...]: SIGINT to all processes of the tool, as a terminal sends it, once the answer has begun:
# the exit code is 130 and nothing is left behind.
interrupt() {
  local situation=$1 code missed="" p pids=()
  shift
  rm -f $out/text $out/run.json
  tokens=300 run_words 64 auto
  "$@" env --default-signal=INT "${words[@]}" >$out/text 2>$out/err &
  for ((p = 0; p < 1200; p++)); do [ -s $out/text ] && break; sleep 0.1; done
  for p in /proc/[0-9]*; do [ "$(readlink "$p/exe")" = /try/terrace ] && pids+=("${p#/proc/}"); done
  kill -INT "${pids[@]}"
  wait $!
  code=$?
  [ $code = 130 ] || missed+=" exit-code-$code"
  [ ${#pids[@]} -gt 1 ] || missed+=" not-enforced"
  sleep 0.3
  [ -z "$(made)" ] || missed+=" left-behind:$(made | tr '\n' ' ')"
  report "interrupted $situation: $([ -z "$missed" ] && echo clean || echo "MISSED$missed")"
  [ -z "$missed" ] || sed 's/^/  /' $out/err
}
user() { setpriv --reuid tester --regid tester --init-groups env HOME=/home/tester "$@"; }
inside() { local g=$1; shift; (echo $BASHPID >"$g/cgroup.procs" && exec "$@"); }  # CGROUP COMMAND...
logged_in() { runuser --login -c 'exec "$@"' -- tester sh "$@"; }
user_inside() {  # root moves a shell in, which then becomes the user
  local g=$1; shift
  (echo $BASHPID >"$g/cgroup.procs" && exec setpriv --reuid tester --regid tester --init-groups env HOME=/home/tester "$@")
}

if [ "${1:-}" != systemd ]; then
  for m in proc:/proc sysfs:/sys cgroup2:$cg tmpfs:/run; do
    mountpoint -q "${m#*:}" || mount -t "${m%%:*}" none "${m#*:}"
  done
  exec >/dev/ttyS1 2>&1 </dev/null
fi
budgets=$(sed -n 's/.*budgets=\([0-9,]*\).*/\1/p' /proc/cmdline)
mkdir -p -m 777 $out
ulimit -c 0
report "kernel $(uname -r), $(stat -f -c %T $cg) at $cg, model on $(findmnt -n -o FSTYPE /), ${1:-no systemd}"
/try/terrace probe --path /try/model.gguf --seconds 2 --out $out/host.toml >/dev/null 2>$out/err || cat $out/err

if [ "${1:-}" != systemd ]; then
  try "root, all in the root cgroup" kernel auto
  interrupt "root, all in the root cgroup"
  try "user, all in the root cgroup" none auto user
  grep -q memory $cg/cgroup.subtree_control || echo +memory >$cg/cgroup.subtree_control
  mkdir $cg/plain $cg/held
  try "own cgroup without a limit, --enforce none" $cg/plain none inside $cg/plain
  rmdir $cg/plain
  echo +memory >$cg/held/cgroup.subtree_control
  mkdir $cg/held/leaf
  chown tester $cg/held $cg/held/cgroup.procs $cg/held/cgroup.subtree_control $cg/held/leaf $cg/held/leaf/cgroup.*
  try "user, alone in a delegated group" kernel auto user_inside $cg/held/leaf
  interrupt "user, alone in a delegated group" user_inside $cg/held/leaf
  inside $cg/held/leaf sleep 100000 &
  other=$!
  try "user, delegated parent" kernel auto user_inside $cg/held/leaf
  interrupt "user, delegated parent" user_inside $cg/held/leaf
  kill $other
  mkdir -p $cg/half/leaf
  echo +memory >$cg/half/cgroup.subtree_control
  chown tester $cg/half
  try "user, groups can be made but not entered" none auto user_inside $cg/half/leaf
  try "root, alone in a group" kernel auto inside $cg/half/leaf
  report end
  sync
  echo o >/proc/sysrq-trigger
  sleep 60
else
  try "systemd: root, in a service" kernel auto
  interrupt "systemd: root, in a service"
  try "systemd: root, in a service with Delegate" kernel auto systemd-run --quiet --wait --pipe --collect -p Delegate=yes
  try "systemd: user, no manager" none auto user
  loginctl enable-linger tester
  for ((i = 0; i < 100; i++)); do [ -S /run/user/$(id -u tester)/bus ] && break; sleep 0.1; done
  try "systemd: user, logged in" kernel auto logged_in
  interrupt "systemd: user, logged in" logged_in
  try "systemd: user, in a service of the user's" kernel auto \
    logged_in systemd-run --user --quiet --wait --pipe --collect
  try "systemd: user, in a service with Delegate" kernel auto \
    systemd-run --quiet --wait --pipe --collect -p User=tester -p Delegate=yes
  report end
fi
