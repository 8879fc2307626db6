#!/usr/bin/env python3
"""Writes small GGUF seeds for fuzz_gguf: make_seeds.py FOLDER (those in gguf/ were)."""
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
for name, content in [("vocabulary", gguf(vocabulary, [])), ("tensors", gguf(numbers, tensors)),
                      ("both", gguf(numbers + vocabulary, tensors)), ("empty", gguf([], []))]:
    with open("%s/%s" % (sys.argv[1], name), "wb") as f:
        f.write(content)
