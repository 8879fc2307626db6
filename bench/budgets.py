"""The budget sweep: is a budget kept, enforced, and does it change the answer; and what it costs."""

from cgroup import Group, NoCgroup
from tool import MIB, bar, document, median, note, rate, row, spread

BUDGETS = [32, 40, 48, 64, 80, 96, 112, 128]


def name_of(budget):
    return f"{budget / MIB:.1f}".removesuffix(".0") + " MiB" if budget else "none"


def _fmt(x, digits=1):
    return "-" if x is None else f"{x:.{digits}f}"


def _mib(values):
    low_high = spread(values)
    return "-" if low_high[1] is None else f"{low_high[1] / MIB:.2f}"


class Sweep:
    def __init__(self, terrace, runs, budgets):
        self.terrace, self.runs = terrace, runs
        self.grouped = True
        try:
            Group.make().remove()
        except NoCgroup as e:
            self.grouped = False
            note(f"NOT LOOKED AT: no memory cgroup can be made here ({e}); peaks and kills are left out")
        self.smallest = terrace.plan(f"{max(budgets, default=64)}MiB")["smallest_budget_bytes"]
        self.budgets = [self.smallest] + [b * MIB for b in budgets if b * MIB > self.smallest] + [None]
        if len(self.budgets) < len(budgets) + 2:
            note(f"budgets below the smallest one ({name_of(self.smallest)}) are left out")
        self.ids = None  # of the first run that answered
        self.all = {b: {"free": [], "held": [], "auto": [], "variants": [], "wrong": [], "failed": []}
                    for b in self.budgets}

    def _one(self, budget, kind, label, **options):
        doc, o = self.terrace.run(budget, **options)
        record = {"peak": o.peak_bytes, "kills": o.kills, "hits": o.hits, "code": o.code, "doc": doc, "label": label}
        into = self.all[budget]
        into[kind].append(record)
        if doc is None:
            into["failed"].append(f"{label}: {o.why()}")
            note(f"  {name_of(budget)}, {label}: {o.why()}")
            return
        ids = (doc["prompt_ids"], doc["output_ids"])
        self.ids = self.ids or ids
        if ids != self.ids:
            into["wrong"].append(label)
            note(f"  {name_of(budget)}, {label}: OTHER TOKENS than the first run")

    def go(self):
        for r in range(self.runs):
            for b in self.budgets:
                self.terrace.probe()
                note(f"budgets: round {r + 1} of {self.runs}, {name_of(b)}")
                self._one(b, "free", "no limit", in_group=self.grouped)
                if b and self.grouped:
                    self._one(b, "held", "limit = budget", limit=b)
                self._one(b, "auto", "--enforce auto", in_group=self.grouped, enforce="auto")
        for b in self.budgets:
            note(f"budgets: other paths, {name_of(b)}")
            for io in ("uring", "pread"):
                for threads in sorted({1, 2, self.terrace.threads}):
                    self._one(b, "variants", f"--io {io} --threads {threads}", in_group=self.grouped,
                              limit=b if self.grouped else None, io=io, threads=threads)


def _row(b, a):
    timed = a["held"] or a["free"]
    docs = [x["doc"] for x in timed if x["doc"]]
    shares = [d["decode"]["bound_seconds"] / d["decode"]["seconds"] for d in docs]
    return row(name_of(b), [rate(d) for d in docs], "tokens/s", bound=median([rate(d, key="bound_seconds") for d in docs]),
               budget_bytes=b, predicted=median([rate(d, key="predicted_seconds") for d in docs]), share=median(shares),
               bound_by=docs[0]["decode"]["bound_by"] if docs else None,
               peak_free_bytes=spread([x["peak"] for x in a["free"]])[1],
               peak_held_bytes=spread([x["peak"] for x in a["held"]])[1],
               kills=sum(x["kills"] for k in ("free", "held", "auto", "variants") for x in a[k]),
               limit_hits=spread([x["hits"] for x in a["held"]])[1],
               # some kernels count no hits under v1: then the peak tells
               limit_met=any(x["hits"] or (x["peak"] or 0) >= b // 4096 * 4096 for x in a["held"]) if a["held"] else None,
               enforced=[x["doc"]["enforced"] for x in a["auto"] if x["doc"]],
               own_peak_bytes=spread([x["doc"]["peak_bytes"] for x in a["auto"] if x["doc"]])[1],
               other_tokens=a["wrong"], failed=a["failed"])


def _verdict(row_):
    problems = (["killed"] if row_["kills"] else []) + (["failed"] if row_["failed"] else [])
    return ", ".join(problems) or "no"


def _table(rows):
    columns = ["budget", "peak, no limit (MiB)", "peak, limit = budget (MiB)", "met the limit", "killed or failed",
               "auto enforced", "same tokens", "tokens/s", "min..max", "predicted", "bound", "bound by", "of bound"]
    out = []
    for r in rows:
        out.append([r["name"], _mib([r["peak_free_bytes"]]), _mib([r["peak_held_bytes"]]),
                    {None: "-", True: "yes", False: "no"}[r["limit_met"]], _verdict(r),
                    f"{sum(r['enforced'])} of {len(r['enforced'])}", "NO" if r["other_tokens"] else "yes",
                    _fmt(r["median"]), f"{_fmt(r['min'])}..{_fmt(r['max'])}", _fmt(r["predicted"]), _fmt(r["bound"]),
                    r["bound_by"] or "-", "-" if r["share"] is None else f"{100 * r['share']:.0f} %"])
    return {"title": "A budget for the whole process, decode", "columns": columns, "rows": out}


def budgets(terrace, args):
    sweep = Sweep(terrace, args.runs, args.budgets)
    doc = document("budgets", terrace, args.runs)
    sweep.go()
    rows = [_row(b, sweep.all[b]) for b in sweep.budgets]
    held = [r for r in rows if r["budget_bytes"]]
    over = [r["name"] for r in held if r["peak_free_bytes"] is None or r["peak_free_bytes"] > r["budget_bytes"]]
    doc["rows"], doc["tables"] = rows, [_table(rows)]
    doc["smallest_budget_bytes"], doc["output_ids"] = sweep.smallest, list(sweep.ids[1]) if sweep.ids else []
    known = sweep.grouped
    doc["bars"] = [
        bar("peak without a limit", "over at " + ", ".join(over) if over else "within every budget", "at most the budget",
            not over if known else None),
        bar("killed with limit = budget", ", ".join(r["name"] for r in held if r["kills"]) or "never", "never",
            not any(r["kills"] for r in held) if known else None),
        bar("runs that failed", sum(len(r["failed"]) for r in rows), "0", not any(r["failed"] for r in rows)),
        bar("token ids (every budget, I/O path, 1 and 2 threads)",
            "differ at " + ", ".join(r["name"] for r in rows if r["other_tokens"])
            if any(r["other_tokens"] for r in rows) else "the same", "the same",
            sweep.ids is not None and not any(r["other_tokens"] for r in rows)),
        bar("--enforce auto", f"{sum(sum(r['enforced']) for r in held)} of {sum(len(r['enforced']) for r in held)} enforced",
            "all", all(all(r["enforced"]) and r["enforced"] for r in held) if known else None),
        bar("smallest budget", f"{sweep.smallest / MIB:.2f} MiB", "at most 28 MiB",
            sweep.smallest <= 28 * MIB and not rows[0]["failed"]),
    ]
    return doc
