"""The other measurements: against llama.cpp, the prediction, and the accuracy."""

import cgroup
import peers
from budgets import name_of
from tool import MIB, ToolError, bar, document, median, note, rate, row, saved_rates, spread


def _fmt(x, digits=1):
    return "-" if x is None else f"{x:.{digits}f}"


def _range(values, digits=1):
    low, high = spread(values)
    return f"{_fmt(low, digits)}..{_fmt(high, digits)}"


def _need(doc, o):
    if doc is None:
        raise ToolError(f"terrace run: {o.why()}")
    return doc


def _alternate(runs, what, ours, theirs, probe):
    """Pairs (ours, theirs), the first of a pair changing from round to round; a probe before each pair."""
    pairs = []
    for r in range(runs):
        note(f"{what}: round {r + 1} of {runs}")
        probe()
        if r % 2 == 0:
            a = ours()
            b = theirs()
        else:
            b = theirs()
            a = ours()
        pairs.append((a, b))
    return pairs


def _versus(doc, name, phase, pairs):
    """Adds both sides' rows and their ratio; pairs of (run document, llama.cpp's rate). Returns (ratios, shares)."""
    ours = [rate(d, phase) for d, _ in pairs]
    theirs = [t for _, t in pairs]
    bounds = [rate(d, phase, "bound_seconds") for d, _ in pairs]
    ratios = [a / b if b else None for a, b in zip(ours, theirs)]
    shares = [d[phase]["bound_seconds"] / d[phase]["seconds"] for d, _ in pairs]
    mine = row(f"{name}, terrace", ours, "tokens/s", bound=median(bounds), share=median(shares),
               bound_by=pairs[0][0][phase]["bound_by"],
               predicted=median([rate(d, phase, "predicted_seconds") for d, _ in pairs]))
    doc["rows"] += [mine, row(f"{name}, llama.cpp", theirs, "tokens/s"), row(f"{name}, ratio", ratios, "")]
    if not doc["tables"]:
        columns = ["", "terrace (tokens/s)", "min..max", "llama.cpp (tokens/s)", "min..max", "ratio", "min..max",
                   "predicted", "bound", "bound by", "of bound"]
        doc["tables"].append({"title": "Against llama.cpp, alternating", "columns": columns, "rows": []})
    doc["tables"][0]["rows"].append(
        [name, _fmt(mine["median"]), _range(ours), _fmt(median(theirs)), _range(theirs), _fmt(median(ratios), 2),
         _range(ratios, 2), _fmt(mine["predicted"]), _fmt(mine["bound"]), mine["bound_by"],
         f"{100 * mine['share']:.0f} % ({_range([100 * s for s in shares], 0)})"])
    return ratios, shares


def _peer(doc, row_):
    if row_:
        doc["peer"] = {"name": "llama.cpp", "package": peers.PACKAGE, "commit": row_.get("build_commit")}


def decode64(terrace, args):
    tool = peers.find(args.peers)
    limit = args.limit * MIB
    doc = document("decode64", terrace, args.runs)
    flags = ["-p", 0, "-n", 8, "--repack", 0, "-b", 8, "-ub", 8, "-lm", "mmap"]
    peaks, theirs = [], []

    def ours():
        result, o = terrace.run(limit, limit=limit)
        peaks.append(o.peak_bytes)
        return _need(result, o)

    def llama():
        value, found, o = peers.bench(tool, terrace.model, flags, terrace.threads, limit, in_group=True)
        _peer(doc, found)
        theirs.append(o.why() if not value else "")
        return value

    pairs = _alternate(args.runs, "decode64", ours, llama, terrace.probe)
    name = f"decode in {args.limit} MiB"
    ratios, shares = _versus(doc, name, "decode", pairs)
    doc["limit_bytes"], doc["peak_bytes"], doc["peer_failures"] = limit, spread(peaks)[1], [t for t in theirs if t]
    ratio, share = median(ratios), median(shares)
    doc["bars"] = [bar(f"{name} against llama.cpp", f"{_fmt(ratio, 2)} x", "at least 8 x",
                       None if ratio is None else ratio >= 8),
                   bar(f"{name}, share of the bound", f"{100 * share:.0f} %", "at least 60 %", share >= 0.6)]
    return doc


def unlimited(terrace, args):
    tool = peers.find(args.peers)
    doc = document("unlimited", terrace, args.runs)
    doc["page_cache"] = "left warm"
    prompt, n = terrace.prompt_of(args.text, args.prompt_tokens)

    def llama(flags):
        value, found, o = peers.bench(tool, terrace.model, flags, terrace.threads)
        if not value:
            raise peers.PeerError(f"llama-bench: {o.why()}")
        _peer(doc, found)
        return value

    def ours(**options):
        return _need(*terrace.run(cold=False, **options))

    bars = []
    for name, phase, flags, options in [
            ("decode, no limit", "decode", ["-p", 0, "-n", args.tokens], {"tokens": args.tokens + 1}),
            (f"prompt of {n}, no limit", "prefill", ["-p", n, "-n", 0],
             {"tokens": 2, "prompt_file": prompt, "ctx": n + 8})]:
        pairs = _alternate(args.runs, name, lambda o=options: ours(**o), lambda f=flags: llama(f), terrace.probe)
        if pairs[0][0]["prefill"]["n_tokens"] != n and phase == "prefill":
            raise ToolError("the prompts are not equally long")
        ratio = median(_versus(doc, name, phase, pairs)[0])
        bars.append(bar(f"{name}, against llama.cpp", f"{ratio:.2f} x", "at least 1 x", ratio >= 1))
    doc["bars"] = bars
    return doc


def prediction(terrace, args):
    """Errors of the predicted seconds of decoding. What was predicted holds for the machine as saved; `scale` carries it
    to the machine of this minute by the ratio of the rate that bounds the run, as saved and as probed just before."""
    doc = document("prediction", terrace, args.runs)
    saved = saved_rates(terrace.machine, terrace.threads)
    doc["saved_rates"] = saved
    budgets = [b * MIB for b in args.budgets] + [None]
    seen = {b: [] for b in budgets}
    for r in range(args.runs):
        for b in budgets:
            note(f"prediction: round {r + 1} of {args.runs}, {name_of(b)}")
            now = terrace.probe()
            d = _need(*terrace.run(b))["decode"]
            key = {"disk": "disk_Bps", "compute": "peak_ops"}.get(d["bound_by"], "dram_Bps")
            scale = saved[key] / now[key]
            raw, normal = (p / d["seconds"] - 1 for p in (d["predicted_seconds"], d["predicted_seconds"] * scale))
            seen[b].append({"measured_seconds": d["seconds"], "predicted_seconds": d["predicted_seconds"],
                            "scaled_by": key, "scale": scale, "raw_error": raw, "error": normal})
    columns = ["budget", "measured (s)", "min..max", "predicted (s)", "probe against saved", "scaled by", "error, raw",
               "error, normalised", "min..max"]
    table = {"title": "Predicted seconds of decoding 31 tokens, from a machine file saved before", "columns": columns,
             "rows": []}
    worst = []
    for b, all_ in seen.items():
        pick = lambda k: [x[k] for x in all_]
        e, raw = median(pick("error")), median(pick("raw_error"))
        doc["rows"].append(row(name_of(b), pick("error"), "relative error", budget_bytes=b, raw_median=raw, samples=all_))
        worst.append((abs(e), abs(raw)))
        table["rows"].append([name_of(b), _fmt(median(pick("measured_seconds")), 3), _range(pick("measured_seconds"), 3),
                              _fmt(median(pick("predicted_seconds")), 3), _fmt(1 / median(pick("scale")), 2),
                              all_[0]["scaled_by"], f"{100 * raw:+.0f} %", f"{100 * e:+.0f} %",
                              _range([100 * x for x in pick("error")], 0)])
    doc["tables"] = [table]
    mid, top = median([w[0] for w in worst]), max(w[0] for w in worst)
    mid_raw, top_raw = median([w[1] for w in worst]), max(w[1] for w in worst)
    doc["bars"] = [bar("error of the prediction, median over budgets", f"{100 * mid:.0f} % (raw {100 * mid_raw:.0f} %)",
                       "at most 15 %", mid <= 0.15),
                   bar("error of the prediction, worst budget", f"{100 * top:.0f} % (raw {100 * top_raw:.0f} %)",
                       "at most 30 %", top <= 0.30)]
    return doc


def accuracy(terrace, args):
    doc = document("accuracy", terrace, 1)
    note(f"accuracy: {args.chunks} chunks, twice")
    e = terrace.call(["eval", "--text", args.text, "--ctx", terrace.ctx, "--chunks", args.chunks, "--against-f32",
                      "--threads", terrace.threads, "--machine", terrace.machine], timeout=3600)
    keys = ("perplexity", "stderr", "reference_perplexity", "perplexity_ratio", "kl_mean", "kl_p99", "same_top", "n_tokens")
    doc["eval"] = {k: e.get(k) for k in keys}
    doc["rows"] = [row(k, [e[k]], "") for k in keys if e.get(k) is not None]
    known = args.known_perplexity
    ratio = e["perplexity"] / known
    doc["tables"] = [{"title": f"Accuracy: {args.chunks} chunks of {terrace.ctx} tokens, second halves scored",
                      "columns": ["", "value"], "rows": [[k, f"{e[k]:.6g}"] for k in keys if e.get(k) is not None] +
                      [[f"perplexity against {known} (f32 of llama.cpp, 8 chunks)", f"{ratio:.4f}"]]}]
    doc["bars"] = [bar("mean KL divergence from f32 activations", f"{e['kl_mean']:.5f}", "at most 0.0026", e["kl_mean"] <= 0.0026),
                   bar(f"perplexity against {known}", f"{100 * (ratio - 1):+.2f} %", "within 0.6 %",
                       abs(ratio - 1) <= 0.006 if args.chunks == 8 else None)]
    return doc


MEASURES = {"decode64": decode64, "unlimited": unlimited, "prediction": prediction, "accuracy": accuracy}
