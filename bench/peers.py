"""llama.cpp: found, or built from the source that the package llama-cpp-python carries; and its llama-bench."""

import glob
import json
import os
import shutil
import subprocess
import sys

import cgroup

PACKAGE = "llama-cpp-python==0.3.36"
TARGETS = ["llama-bench", "llama-perplexity", "llama-quantize", "llama-tokenize"]


class PeerError(Exception):
    pass


def _call(command, folder):
    with open(os.path.join(folder, "log"), "a") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        if subprocess.call(command, cwd=folder, stdout=log, stderr=log) != 0:
            raise PeerError(f"failed: {' '.join(command)} (see {log.name})")


def _build(folder):
    for tool in ("cmake", "c++"):
        if not shutil.which(tool):
            raise PeerError(f"building llama.cpp needs {tool}")
    os.makedirs(folder, exist_ok=True)
    print(f"building llama.cpp ({PACKAGE}) in {folder}: about eight minutes on two cores", file=sys.stderr)
    if not glob.glob(folder + "/llama_cpp_python-*.tar.gz"):
        _call([sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", PACKAGE], folder)
    _call(["tar", "xzf", os.path.basename(glob.glob(folder + "/llama_cpp_python-*.tar.gz")[0])], folder)
    source = [d for d in glob.glob(folder + "/llama_cpp_python-*/vendor/llama.cpp") if os.path.isdir(d)]
    if not source:
        raise PeerError("the package holds no vendor/llama.cpp")
    _call(["cmake", "-S", source[0], "-B", "build", "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF",
           "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_SERVER=OFF"], folder)
    _call(["cmake", "--build", "build", f"-j{os.cpu_count()}", "--target", *TARGETS], folder)


def find(folder, build=True):
    """The path of llama-bench under `folder`, built there if need be. Raises PeerError."""
    folder = os.path.abspath(os.path.expanduser(folder))
    for place in ("bin", "build/bin", "llama/bin", "llama/build/bin"):
        tool = os.path.join(folder, place, "llama-bench")
        if os.access(tool, os.X_OK):
            return tool
    if not build:
        raise PeerError(f"no llama-bench under {folder}")
    _build(os.path.join(folder, "llama"))
    return find(folder, build=False)


def bench(tool, model, flags, threads, limit_bytes=None, in_group=False, timeout=200):
    """One llama-bench run: (tokens per second, its JSON row, Outcome); the rate is 0 where it got nowhere.
    In the group the cache is cold, and limit_bytes holds the whole process."""
    command = [tool, "-m", model, "-t", threads, "-r", 1, "-o", "json", *flags]
    o = cgroup.run_limited(command, limit_bytes, timeout) if in_group else cgroup.run(command, timeout=timeout)
    if not o.good:
        return 0.0, {}, o
    try:
        row = json.loads(o.out)[0]
    except (ValueError, IndexError) as e:
        raise PeerError(f"llama-bench printed no JSON: {o.why()}") from e
    if os.path.realpath(row["model_filename"]) != os.path.realpath(model):
        raise PeerError(f"llama-bench read {row['model_filename']}, not {model}")
    return float(row["avg_ts"]), row, o
