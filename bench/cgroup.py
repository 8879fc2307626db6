"""Runs a program in a fresh memory cgroup (v1 or v2), and says what the kernel counted."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass

ROOT = "/sys/fs/cgroup"
ROOT1 = "/sys/fs/cgroup/memory"


class NoCgroup(Exception):
    """No memory cgroup can be made here."""


@dataclass
class Outcome:
    command: list
    code: int = 0  # negative: ended by that signal
    out: str = ""
    err: str = ""
    seconds: float = 0.0
    timed_out: bool = False
    peak_bytes: int | None = None  # of the whole group; None: run outside one, or a kernel that does not tell
    kills: int = 0  # processes that the kernel killed in the group
    hits: int = 0  # how often the limit was met, by kernels that count it; reclaiming page cache is no fault

    @property
    def good(self):
        return self.code == 0 and self.kills == 0 and not self.timed_out

    def why(self):
        if self.timed_out:
            return "timed out"
        if self.kills:
            return f"killed by the kernel ({self.kills})"
        lines = self.err.strip().splitlines()
        return f"exit {self.code}" + (f": {lines[-1]}" if lines else "")


def drop_caches():
    """Empties the page cache, so that a group pays for the pages of the files it reads. False: not allowed."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("3\n")
        return True
    except OSError:
        return False


def _read(path, default=""):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return default


def _write(path, text):
    with open(path, "w") as f:
        f.write(text)


def _field(text, key):
    """The number after `key` in a file of lines `key number`."""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == key:
            return int(words[1])
    return 0


def _own_path(names):
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if names(controllers.split(",")):
            return path.rstrip("/")
    return ""


def _candidates():
    """(version, parent folder) where a group may be tried, best first."""
    if os.path.exists(ROOT1 + "/memory.limit_in_bytes"):
        own = ROOT1 + _own_path(lambda c: "memory" in c)
        return [(1, ROOT1)] + ([(1, own)] if own != ROOT1 and os.path.isdir(own) else [])
    found = []
    folder = ROOT + _own_path(lambda c: c == [""])
    while folder.startswith(ROOT):  # a group that holds processes cannot have limited children: go up
        found.append((2, folder))
        folder = os.path.dirname(folder)
    return found


@dataclass
class Group:
    version: int
    folder: str

    @staticmethod
    def make(limit_bytes=None):
        why = "no memory controller is to be seen under " + ROOT
        for version, parent in _candidates():
            folder = f"{parent}/terrace-bench.{os.getpid()}.{time.monotonic_ns()}"
            try:
                os.mkdir(folder)
            except OSError as e:
                why = f"{folder}: {e.strerror}"
                continue
            g = Group(version, folder)
            try:
                g._prepare(parent, limit_bytes)
                return g
            except OSError as e:
                why = f"{folder}: {e.strerror}"
                g.remove()
        raise NoCgroup(why)

    def _prepare(self, parent, limit_bytes):
        if self.version == 2 and not os.path.exists(self.folder + "/memory.max"):
            _write(parent + "/cgroup.subtree_control", "+memory")
        limit = str(limit_bytes // 4096 * 4096) if limit_bytes else None
        if self.version == 1:
            if limit:
                _write(self.folder + "/memory.limit_in_bytes", limit)
            swap = self.folder + "/memory.memsw.limit_in_bytes"
        else:
            if limit:
                _write(self.folder + "/memory.max", limit)
            swap = self.folder + "/memory.swap.max"
            limit = "0" if limit else None
        if limit and os.path.exists(swap):
            _write(swap, limit)

    def counts(self):
        """(peak bytes or None, kills, limit hits)"""
        if self.version == 1:
            peak = _read(self.folder + "/memory.max_usage_in_bytes")
            kills = _field(_read(self.folder + "/memory.oom_control"), "oom_kill")
            # Where swap is counted too, memory and swap meet their equal limit first.
            hits = max(int(_read(f"{self.folder}/memory.{m}failcnt", "0")) for m in ("", "memsw."))
        else:
            peak = _read(self.folder + "/memory.peak")
            events = _read(self.folder + "/memory.events")
            kills, hits = _field(events, "oom_kill"), _field(events, "max")
        return (int(peak) if peak.strip() else None), kills, hits

    def remove(self):
        for _ in range(50):  # a process that has just ended may still be listed for a moment
            try:
                os.rmdir(self.folder)
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)


def run(command, group=None, timeout=300):
    """Runs `command`, in `group` if one is given, and removes the group afterwards."""
    o = Outcome([str(c) for c in command])
    words = o.command
    if group:
        # The shell enters the group and becomes the program: nothing of this interpreter is charged to it.
        words = ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', group.folder + "/cgroup.procs"] + o.command
    begin = time.monotonic()
    try:
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, errors="replace", start_new_session=True) as p:
            try:
                o.out, o.err = p.communicate(timeout=timeout)
            except BaseException as e:
                os.killpg(p.pid, signal.SIGKILL)
                o.out, o.err = p.communicate()
                if not isinstance(e, subprocess.TimeoutExpired):
                    raise
                o.timed_out = True
        o.code = p.returncode
        o.seconds = time.monotonic() - begin
        if group:
            o.peak_bytes, o.kills, o.hits = group.counts()
    finally:
        if group:
            group.remove()
    return o


def run_limited(command, limit_bytes=None, timeout=300):
    """As run(), in a fresh group with cold page cache; without a limit the group only counts."""
    drop_caches()
    subprocess.run(["/bin/sh", "-c", ":"], check=False)  # what the shell itself reads is not the program's
    return run(command, Group.make(limit_bytes), timeout)
