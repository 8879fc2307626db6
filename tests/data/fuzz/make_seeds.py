#!/usr/bin/env python3
"""Writes small seeds for the fuzz targets: make_seeds.py FOLDER makes those with names in FOLDER/{gguf,safetensors,idx}."""
import gzip
import hashlib
import os
import struct
import sys


def text(s):
    s = s.encode() if isinstance(s, str) else s
    return struct.pack("<Q", len(s)) + s


def u32(k, v):
    return text(k) + struct.pack("<II", 4, v)


def string(k, v):
    return text(k) + struct.pack("<I", 8) + text(v)


def strings(k, vs):
    return text(k) + struct.pack("<IIQ", 9, 8, len(vs)) + b"".join(text(v) for v in vs)


def i32s(k, vs):
    return text(k) + struct.pack("<IIQ", 9, 5, len(vs)) + struct.pack("<%di" % len(vs), *vs)


def gguf(kvs, tensors):
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(kvs)) + b"".join(kvs)
    data = b""
    for name, dims, kind, size in tensors:
        data += b"\0" * (-len(data) % 32)
        out += text(name) + struct.pack("<I", len(dims)) + struct.pack("<%dQ" % len(dims), *dims)
        out += struct.pack("<IQ", kind, len(data))
        data += bytes(i % 251 for i in range(size))
    return out + b"\0" * (-len(out) % 32) + data if tensors else out


letters = list("abcdeHlowr") + ["\u0120", "el", "lo", "\u0120w", "12", "<|im_start|>", "<|im_end|>", "1", "2"]
vocabulary = [
    string("tokenizer.ggml.model", "gpt2"), string("tokenizer.ggml.pre", "smollm"),
    strings("tokenizer.ggml.tokens", letters),
    i32s("tokenizer.ggml.token_type", [3 if "<|" in t else 1 for t in letters]),
    strings("tokenizer.ggml.merges", ["e l", "l o", "\u0120 w", "1 2"]),
    u32("tokenizer.ggml.eos_token_id", 16),
    string("tokenizer.chat_template", "{{'<|im_start|>system\nBe.<|im_end|>'}}{{'<|im_start|>' + m}}"),
]
tensors = [("a", (32, 2), 8, 68), ("b", (5,), 0, 20), ("c", (32, 1, 2), 2, 36), ("d", (64,), 3, 40), ("e", (3,), 1, 6)]
numbers = [text("x") + struct.pack("<If", 6, 0.5), text("y") + struct.pack("<IB", 7, 1),
           text("z") + struct.pack("<Iq", 11, -1), u32("general.alignment", 32)]


def safetensors(header, data=b""):
    header = header.encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


def entry(name, kind, shape, begin, end):
    return '"%s":{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}' % (name, kind, shape, begin, end)


def checkpoint():
    """A weight of 8 bytes and a state of 4, as CheckpointWriter writes them."""
    data, zeros = bytes(range(12)), "0" * 64
    sha = lambda b: hashlib.sha256(b).hexdigest()
    def with_hash(header_hash):
        keys = {"sha256.state.step": sha(data[8:]), "sha256.weight.w": sha(data[:8]), "terrace.checkpoint": "1",
                "terrace.header_sha256": header_hash, "weights_sha256": sha(data[:8])}
        return safetensors('{"__metadata__":{%s},%s,%s}' % (
            ",".join('"%s":"%s"' % k for k in keys.items()), entry("w", "F32", "[2]", 0, 8),
            entry("step", "I32", "[]", 8, 12)))
    return with_hash(sha(with_hash(zeros))) + data


def idx(shape, data):
    return struct.pack(">HBB", 0, 8, len(shape)) + struct.pack(">%dI" % len(shape), *shape) + data


def zipped(content):
    return gzip.compress(content, mtime=0)


every = [("a", "F32", "[1,2]", 0, 8), ("b", "F16", "[3]", 8, 14), ("c", "BF16", "[]", 14, 16), ("d", "F64", "[1]", 16, 24),
         ("e", "I32", "[0,4]", 24, 24)]
images, labels = idx((2, 3, 4), bytes(24)), idx((5,), bytes(range(5)))
seeds = {
    "gguf": {"vocabulary": gguf(vocabulary, []), "tensors": gguf(numbers, tensors),
             "both": gguf(numbers + vocabulary, tensors), "empty": gguf([], [])},
    "safetensors": {"empty": safetensors("{}"), "checkpoint": checkpoint(),
                    "tensors": safetensors("{%s}" % ",".join(entry(*e) for e in every), bytes(24)),
                    "metadata": safetensors('{ "__metadata__" : {"a\\n\\u00e4\\ud83d\\ude00": "\u00e4\\"", "b":""}\t}')},
    "idx": {"images": images, "labels": labels, "images.gz": zipped(images), "labels.gz": zipped(labels)},
}
for target, files in seeds.items():
    os.makedirs(os.path.join(sys.argv[1], target), exist_ok=True)
    for name, content in files.items():
        with open(os.path.join(sys.argv[1], target, name), "wb") as f:
            f.write(content)
