"""Writes vit_20_steps.txt: loss and accuracy of 20 steps of a small Vision Transformer in PyTorch, which
tests/program/vit_test.cc repeats from the same weights and batches. Needs torch and numpy:
python3 vit_20_steps.py > vit_20_steps.txt"""
import math

import torch
import torch.nn.functional as F
from common import initial, lcg, rate

S, P, D, H, L, B, V, STEPS = 12, 4, 32, 4, 2, 16, 10, 20
RATE, LEAST, WARM, B1, B2, EPS, DECAY, CLIP = 1e-2, 1e-3, 5, 0.9, 0.99, 1e-8, 0.1, 1.0
T = (S // P) ** 2


def main():
    deviation = 1 / math.sqrt(D)
    residual = deviation / math.sqrt(2 * L)
    vectors = lambda name: [(name + ".weight", (D,), 0, 1), (name + ".bias", (D,), 0, 0)]
    product = lambda name, rows, columns, dev: [(name, (rows, columns), dev, 0), (name + ".bias", (rows,), 0, 0)]
    shapes = product("patch", D, P * P, 1 / P) + [("wpe", (T, D), 0.5, 0)] + vectors("ln_f") + product("head", V, D, 0.02)
    for i in range(L):
        h = f"h.{i}."
        shapes += vectors(h + "ln_1") + vectors(h + "ln_2")
        for name in "qkv":
            shapes += product(h + "attn." + name, D, D, deviation)
        shapes += product(h + "attn.out", D, D, residual)
        shapes += product(h + "mlp.up", 4 * D, D, deviation) + product(h + "mlp.down", D, 4 * D, residual)
    w = {name: initial(name, shape, dev, constant).requires_grad_() for name, shape, dev, constant in shapes}

    def linear(x, name):
        return F.linear(x, w[name], w[name + ".bias"])

    def norm(x, name):
        return F.layer_norm(x, (D,), w[name + ".weight"], w[name + ".bias"], 1e-5)

    def forward(images):
        patches = images.view(B, S // P, P, S // P, P).transpose(2, 3).reshape(B, T, P * P)
        x = linear(patches, "patch") + w["wpe"]
        for i in range(L):
            p = f"h.{i}."
            h = norm(x, p + "ln_1")
            q, k, v = (linear(h, p + "attn." + n).view(B, T, H, D // H).transpose(1, 2) for n in "qkv")
            x = x + linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, T, D), p + "attn.out")
            x = x + linear(F.gelu(linear(norm(x, p + "ln_2"), p + "mlp.up"), approximate="tanh"), p + "mlp.down")
        return linear(norm(x, "ln_f").mean(1), "head")

    adamw = torch.optim.AdamW([{"params": [p for p in w.values() if p.dim() > 1], "weight_decay": DECAY},
                               {"params": [p for p in w.values() if p.dim() == 1], "weight_decay": 0}],
                              lr=RATE, betas=(B1, B2), eps=EPS)
    state = 12345
    for step in range(STEPS):
        images, labels = [], []
        for i in range(B * S * S):
            state = lcg(state)
            if i % (S * S) == 0:
                labels.append((state >> 40) % V)
            images.append(((state >> 33) % 256) / 128 - 1 + (2 if i % S == labels[-1] else 0))
        targets = torch.tensor(labels)
        for group in adamw.param_groups:
            group["lr"] = rate(step, RATE, LEAST, WARM, STEPS)
        logits = forward(torch.tensor(images))
        loss = F.cross_entropy(logits, targets)
        adamw.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(w.values()), CLIP)
        adamw.step()
        print(f"{loss.item():.6f} {(logits.argmax(1) == targets).float().mean().item():.6f}")


if __name__ == "__main__":
    main()
