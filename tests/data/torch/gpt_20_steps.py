"""Writes gpt_20_steps.txt: the losses of 20 steps of a small GPT in PyTorch, which tests/program/training_test.cc repeats
from the same weights and batches. Needs torch and numpy: python3 gpt_20_steps.py > gpt_20_steps.txt"""
import math

import torch
import torch.nn.functional as F
from common import initial, lcg, rate

V, T, D, H, L, B, STEPS = 65, 32, 64, 4, 2, 4, 20
RATE, LEAST, WARM, B1, B2, EPS, DECAY, CLIP = 1e-2, 1e-3, 5, 0.9, 0.99, 1e-8, 0.1, 1.0


def main():
    small, residual = 0.02, 0.02 / math.sqrt(2 * L)
    w = {}
    for name, shape, deviation, constant in (
        [("wte", (V, D), small, 0), ("wpe", (T, D), small, 0), ("ln_f.weight", (D,), 0, 1), ("ln_f.bias", (D,), 0, 0)]
        + [(f"h.{i}.{n}", s, d, c) for i in range(L) for n, s, d, c in (
            ("ln_1.weight", (D,), 0, 1), ("ln_1.bias", (D,), 0, 0), ("attn.q", (D, D), small, 0), ("attn.k", (D, D), small, 0),
            ("attn.v", (D, D), small, 0), ("attn.out", (D, D), residual, 0), ("ln_2.weight", (D,), 0, 1), ("ln_2.bias", (D,), 0, 0),
            ("mlp.up", (4 * D, D), small, 0), ("mlp.down", (D, 4 * D), residual, 0))]):
        w[name] = initial(name, shape, deviation, constant).requires_grad_()

    def forward(ids):
        def heads(x):
            return x.view(B, T, H, D // H).transpose(1, 2)
        x = w["wte"][ids] + w["wpe"][:T]
        for i in range(L):
            p = lambda n: w[f"h.{i}.{n}"]
            h = F.layer_norm(x, (D,), p("ln_1.weight"), p("ln_1.bias"), 1e-5)
            y = F.scaled_dot_product_attention(heads(h @ p("attn.q").T), heads(h @ p("attn.k").T), heads(h @ p("attn.v").T), is_causal=True)
            x = x + y.transpose(1, 2).reshape(B, T, D) @ p("attn.out").T
            h = F.layer_norm(x, (D,), p("ln_2.weight"), p("ln_2.bias"), 1e-5)
            x = x + F.gelu(h @ p("mlp.up").T, approximate="tanh") @ p("mlp.down").T
        return F.layer_norm(x, (D,), w["ln_f.weight"], w["ln_f.bias"], 1e-5) @ w["wte"].T

    matrices = [p for p in w.values() if p.dim() > 1]
    vectors = [p for p in w.values() if p.dim() == 1]
    adamw = torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0}],
                              lr=RATE, betas=(B1, B2), eps=EPS)
    state = 12345
    for step in range(STEPS):
        batch = []
        for _ in range(B * T):
            state = lcg(state)
            batch.append((state >> 33) % V)
        ids = torch.tensor(batch).view(B, T)
        targets = (7 * ids + 3) % V
        for group in adamw.param_groups:
            group["lr"] = rate(step, RATE, LEAST, WARM, STEPS)
        loss = F.cross_entropy(forward(ids).view(-1, V), targets.view(-1))
        adamw.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(w.values()), CLIP)
        adamw.step()
        print(f"{loss.item():.6f}")


if __name__ == "__main__":
    main()
