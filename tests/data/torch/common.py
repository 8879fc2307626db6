"""What the scripts beside this one share: the numbers that parameters begin with, and the schedule of the rate."""
import math

import numpy as np
import torch


def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011) of 64-bit counters."""
    m = np.uint64(0xFFFFFFFF)
    c = [counter & m, counter >> np.uint64(32), np.zeros_like(counter), np.zeros_like(counter)]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), p1 & m, (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), p0 & m]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def initial(name, shape, deviation, constant, seed=1):
    """nn::initialize."""
    n = math.prod(shape)
    if deviation == 0:
        return torch.full(shape, float(constant))
    key = seed ^ 14695981039346656037
    for byte in name.encode():
        key = ((key ^ byte) * 1099511628211) & (2**64 - 1)
    words = philox(np.arange((n + 3) // 4, dtype=np.uint64), key)
    out = np.empty(((n + 3) // 4, 4))
    for j in (0, 2):
        radius = deviation * np.sqrt(-2 * np.log((words[j].astype(np.float64) + 1) * 2.0**-32))
        angle = 2 * np.pi * words[j + 1].astype(np.float64) * 2.0**-32
        out[:, j], out[:, j + 1] = radius * np.cos(angle), radius * np.sin(angle)
    return torch.from_numpy(out.reshape(-1)[:n].astype(np.float32).reshape(shape))


def rate(step, base, least, warm, steps):
    """ops::learning_rate."""
    t = step + 1
    progress = min(max((t - warm) / (steps - warm), 0), 1)
    return base * t / warm if t <= warm else least + (base - least) * (1 + math.cos(math.pi * progress)) / 2


def lcg(state):
    """The tests' random numbers: 64 bits, of which the upper ones are worth something."""
    return (state * 6364136223846793005 + 1442695040888963407) % 2**64
