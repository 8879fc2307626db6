"""The tool under test, the figures of a run, and the medians of many."""

import datetime
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import tomllib

import cgroup

MIB = 1 << 20
PROMPT = "The capital of France is"


class ToolError(Exception):
    pass


def note(text):
    print(text, file=sys.stderr, flush=True)


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def spread(values):
    values = [v for v in values if v is not None]
    return (min(values), max(values)) if values else (None, None)


def row(name, values, unit, bound=None, **more):
    low, high = spread(values)
    return {"name": name, "median": median(values), "min": low, "max": high, "bound": bound, "unit": unit, **more}


def bar(name, value, wanted, ok):
    """A claim to keep: ok is None where it could not be looked at."""
    return {"name": name, "value": value, "wanted": wanted, "ok": None if ok is None else bool(ok)}


def processor():
    try:
        with open("/proc/cpuinfo") as f:
            for line in f:
                key, _, value = line.partition(":")
                if key.strip() in ("model name", "Model") and value.strip():
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.hexdigest()


def saved_rates(path, threads):
    """The rates of the bound that a machine file holds: {disk_Bps, dram_Bps, peak_ops}."""
    with open(path, "rb") as f:
        m = tomllib.load(f)
    memory = next(t for t in m["tier"] if t["kind"] in ("dram", "hbm") and t.get("managed") == "software")
    by_threads = memory.get("read_Bps_by_threads") or [memory["read_Bps"]]
    dram = by_threads[min(threads, len(by_threads)) - 1]
    links = [l for l in m.get("link", []) if l["to"] == memory["id"]]
    disk = max((r for l in links for r in [l["Bps"], *[b["Bps"] for b in l.get("rates", [])]]), default=dram)
    peak = max((r["peak_ops"] for u in m["unit"] for r in u.get("rate", [])), default=0)
    return {"disk_Bps": disk, "dram_Bps": dram, "peak_ops": peak}


class Terrace:
    """`terrace` with one model, one machine file and one context."""

    def __init__(self, binary, model, machine, threads, ctx=512, probe_seconds=2.0, rates=None):
        load = os.getloadavg()[0]  # of others: later it would be our own
        self.binary, self.model, self.threads, self.ctx = binary, model, threads, ctx
        self.probe_seconds, self.given_rates = probe_seconds, rates
        self.folder = tempfile.TemporaryDirectory(prefix="terrace-bench-")
        self.machine = machine or self._probe_machine()
        self.rates_file = rates
        self.load_before = load

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def _probe_machine(self):
        note("no --machine given: measuring this machine first")
        self.call(["probe", self.model, "--out", self.path("host.toml"), "--seconds", 4], with_model=False)
        return self.path("host.toml")

    def call(self, words, with_model=True, timeout=600):
        """Runs a verb and returns its JSON document."""
        words = [words[0], self.model, *words[1:]] if with_model else words
        o = cgroup.run([self.binary, *words, "--json", "-"], timeout=timeout)
        if not o.good:
            raise ToolError(f"terrace {words[0]}: {o.why()}")
        return json.loads(o.out)

    def probe(self):
        """Rates of this minute, outside any small group; the next runs take them for their bound."""
        if self.given_rates:
            with open(self.given_rates) as f:
                return json.load(f)["rates"]
        doc = self.call(["probe", self.model, "--seconds", self.probe_seconds, "--out", self.path("now.toml")],
                        with_model=False)
        self.rates_file = self.path("rates.json")
        with open(self.rates_file, "w") as f:
            json.dump(doc, f)
        return doc["rates"]

    def run_words(self, budget, tokens=32, enforce="none", threads=None, io="auto", prompt_file=None, ctx=None):
        words = [self.binary, "run", self.model, "--enforce", enforce, "--ignore-eos", "--max-tokens", tokens, "--ctx",
                 ctx or self.ctx, "--threads", threads or self.threads, "--io", io, "--machine", self.machine, "--json", "-"]
        if self.rates_file:
            words += ["--rates", self.rates_file]
        if budget:
            words += ["--budget", budget]
        return words + (["--prompt-file", prompt_file] if prompt_file else ["--prompt", PROMPT])

    def run(self, budget=None, limit=None, in_group=False, cold=True, **options):
        """One generation: (its JSON document or None, Outcome). A limit holds the whole process."""
        words = self.run_words(budget, **options)
        if in_group or limit:
            o = cgroup.run_limited(words, limit)
        else:
            if cold:
                cgroup.drop_caches()
            o = cgroup.run(words)
        return (json.loads(o.out) if o.good else None), o

    def plan(self, budget=None):
        words = ["plan", "--ctx", self.ctx, "--threads", self.threads, "--machine", self.machine]
        return self.call(words + (["--budget", budget] if budget else []))

    def prompt_of(self, text_file, tokens):
        """Writes the beginning of a text that is `tokens` long (or a little less) to a file: (path, tokens)."""
        with open(text_file, encoding="utf-8", errors="ignore") as f:
            text = f.read(tokens * 16)
        best = ("", 0)
        pieces = self._tokens(text)["pieces"]
        for k in range(tokens, max(tokens - 40, 0), -1):  # a cut inside a word may join differently: try a few
            part = "".join(pieces[:k])
            n = len(self._tokens(part)["ids"])
            if best[1] < n <= tokens:
                best = (part, n)
            if best[1] == tokens:
                break
        with open(self.path("prompt.txt"), "w", encoding="utf-8") as f:
            f.write(best[0])
        return self.path("prompt.txt"), best[1]

    def _tokens(self, text):
        with open(self.path("text"), "w", encoding="utf-8") as f:
            f.write(text)
        words = ["/bin/sh", "-c", 'exec "$1" tokenize "$2" --json - <"$0"', self.path("text"), self.binary, self.model]
        o = cgroup.run(words)
        if not o.good:
            raise ToolError(f"terrace tokenize: {o.why()}")
        return json.loads(o.out)


def rate(doc, phase="decode", key="seconds"):
    """Tokens per second of a phase of a run's document, or None."""
    p = (doc or {}).get(phase) or {}
    return p["n_tokens"] / p[key] if p.get("n_tokens") and p.get(key) else None


def document(what, terrace, runs):
    """The head of every result."""
    check = terrace.plan()["files"][0]
    if os.path.realpath(check["path"]) != os.path.realpath(terrace.model) or \
            check["bytes"] != os.path.getsize(terrace.model):
        raise ToolError(f"terrace reads {check['path']}, not {terrace.model}")
    with open(terrace.binary, "rb") as f:
        binary = hashlib.sha256(f.read()).hexdigest()
    return {
        "schema": 1, "kind": "bench", "what": what, "processor": processor(), "cores": len(os.sched_getaffinity(0)),
        "threads": terrace.threads, "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "system": f"{platform.system()} {platform.release().split('-')[0]}", "runs": runs, "context": terrace.ctx,
        "terrace_sha256": binary, "load_average": terrace.load_before,
        "model": {"name": os.path.basename(terrace.model), "bytes": check["bytes"], "sha256": digest(terrace.model)},
        "page_cache": "dropped before each run" if cgroup.drop_caches() else "NOT dropped (not allowed)", "rows": [], "bars": [], "tables": [],
    }
