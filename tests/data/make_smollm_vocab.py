#!/usr/bin/env python3
"""Cuts a GGUF version 3 file down to its metadata: no tensors, so that tests have a real vocabulary.

Usage: make_smollm_vocab.py MODEL.gguf OUT.gguf
tokenizer/smollm-vocab.gguf was made from HuggingFaceTB/SmolLM2-135M-Instruct (Q4_1).
"""
import struct
import sys

FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


def skip_value(f, kind):
    if kind == STRING:
        f.seek(struct.unpack("<Q", f.read(8))[0], 1)
    elif kind == ARRAY:
        element, count = struct.unpack("<IQ", f.read(12))
        for _ in range(count if element == STRING else 0):
            skip_value(f, STRING)
        f.seek(FIXED.get(element, 0) * count, 1)
    else:
        f.seek(FIXED[kind], 1)


with open(sys.argv[1], "rb") as f:
    magic, version, _, entries = struct.unpack("<4sIQQ", f.read(24))
    assert magic == b"GGUF" and version == 3
    for _ in range(entries):
        skip_value(f, STRING)
        skip_value(f, struct.unpack("<I", f.read(4))[0])
    end = f.tell()
    f.seek(24)
    body = f.read(end - 24)
with open(sys.argv[2], "wb") as f:
    f.write(struct.pack("<4sIQQ", magic, version, 0, entries) + body)
