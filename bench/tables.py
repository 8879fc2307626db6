"""Results as markdown."""

import json


def load(paths):
    """The documents of result files, each of which holds one or a list of them."""
    found = []
    for path in paths:
        with open(path) as f:
            doc = json.load(f)
        found += doc["documents"] if "documents" in doc else [doc]
    for d in found:
        if d.get("kind") != "bench" or d.get("schema") != 1:
            raise ValueError("not a result of bench/run")
    return found


def table(columns, rows):
    cell = lambda x: str(x).replace("|", "\\|").replace("\n", " ")
    lines = ["| " + " | ".join(cell(c) for c in columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(cell(c) for c in r) + " |" for r in rows])


def _mark(ok):
    return {True: "kept", False: "**missed**", None: "not looked at"}[ok]


def section(doc):
    head = (f"{doc['date']}; {doc['processor']}, {doc['cores']} cores, {doc['threads']} threads, {doc['system']}; "
            f"{doc['model']['name']} ({doc['model']['bytes']:,} bytes, sha256 {doc['model']['sha256'][:12]}), context {doc['context']}; "
            f"median of {doc['runs']}; page cache {doc['page_cache']}")
    if doc["load_average"] > 1:
        head += f"; **the machine was busy (load {doc['load_average']:.1f}): rates do not count**"
    if doc.get("peer"):
        head += f"; llama.cpp of {doc['peer']['package']} ({doc['peer']['commit']})"
    parts = [f"## {doc['what']}", head + "."]
    for t in doc["tables"]:
        parts += [f"**{t['title']}**", table(t["columns"], t["rows"])]
    if doc["bars"]:
        parts.append(table(["bar", "measured", "wanted", ""],
                           [[b["name"], b["value"], b["wanted"], _mark(b["ok"])] for b in doc["bars"]]))
    failed = [f"{r['name']}: {f}" for r in doc["rows"] for f in r.get("failed", [])]
    if failed:
        parts.append("Failed runs:\n\n" + "\n".join("- " + f for f in failed))
    return "\n\n".join(parts)


INTRO = """# Benchmarks

Made by `bench/run table`; what each section measures and how to repeat it: [bench/README.md](../bench/README.md). *Predicted* is the
simulator's, from a machine file saved before; the *bound* is physics at the rates of a probe just before each run
([interface.md](interface.md)); ratios are medians over alternating pairs, with the extremes beside."""


def page(docs):
    return "\n\n".join([INTRO] + [section(d) for d in docs]) + "\n"
