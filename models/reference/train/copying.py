"""A start that can copy. Recall needs a head that looks at the previous token and heads that then find where the present token
stood before (induction); a random start of this size does not find them in the tokens at hand. So they are planted, and a short
phase on repeated segments, with those heads' attention supervised, makes them work before anything else is learned."""
import math

import numpy as np
import torch
import torch.nn.functional as F

PREVIOUS = (1, 0)            # (layer, KV head): looks one token back
INDUCTION = [(3, 0), (5, 1)]  # look behind an earlier occurrence of the present token
RESIDUAL_SCALE = 0.04        # of what the other layers write, so that the planted path is heard
PREVIOUS_GAIN, INDUCTION_GAIN, SHARED = 2.2, 2.8, 0.1
ATTENTION_SHARE = 0.3        # of the supervised heads in the loss of the copying phase


def plant(model, seed=1):
    dims, source = model.dims, torch.Generator().manual_seed(seed)
    width, half = dims.head_dim, dims.head_dim // 2
    shared = torch.ones(dims.hidden) / math.sqrt(dims.hidden)  # a direction that every embedding has a part of

    def subspace(blind):
        basis = torch.linalg.qr(torch.randn(dims.hidden, width, generator=source))[0].T
        return basis - torch.outer(basis @ shared, shared) if blind else basis

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                scale = 0.1 if "embed" in name else weight.shape[1] ** -0.5
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    scale *= RESIDUAL_SCALE
                weight.normal_(0, scale, generator=source)
        model.model.embed_tokens.weight += SHARED
        layers = [layer.self_attn for layer in model.model.layers]
        group = dims.heads // dims.kv_heads

        # Keys are one constant; the query is the same constant turned by one position, so scores peak one token back.
        layer, head = PREVIOUS
        rows, query = slice(head * width, (head + 1) * width), head * group * width
        angles = dims.theta ** (-torch.arange(0, width, 2) / width)
        layers[layer].k_proj.weight[rows].zero_()
        layers[layer].q_proj.weight[query:query + width].zero_()
        for pair in range(min(14, half)):  # the fast angles tell neighbours apart
            layers[layer].k_proj.weight[head * width + pair] = PREVIOUS_GAIN * shared
            layers[layer].q_proj.weight[query + pair] = PREVIOUS_GAIN * math.cos(angles[pair]) * shared
            layers[layer].q_proj.weight[query + half + pair] = -PREVIOUS_GAIN * math.sin(angles[pair]) * shared
        seen, written = subspace(blind=True), subspace(blind=True)
        layers[layer].v_proj.weight[rows] = seen
        layers[layer].o_proj.weight[:, query:query + width] = 0.4 * written.T

        # Queries read the present token, keys the previous one that was written above; slow angles only, as distance varies.
        slow = torch.linspace(0, 1, half).repeat(2)[:, None]
        for layer, head in INDUCTION:
            rows, query = slice(head * width, (head + 1) * width), head * group * width
            layers[layer].q_proj.weight[query:query + width] = INDUCTION_GAIN * slow * seen
            layers[layer].k_proj.weight[rows] = INDUCTION_GAIN * slow * written
            copied = subspace(blind=True)
            layers[layer].v_proj.weight[rows] = copied
            layers[layer].o_proj.weight[:, query:query + width] = 0.8 * copied.T


def attention_loss(model, periods):
    """How far the planted heads are from looking where they should; periods: of each row's repeated segment."""
    group = model.dims.heads // model.dims.kv_heads

    def of(layer, head):
        return model.model.layers[layer].self_attn.probabilities[:, head * group]

    previous = of(*PREVIOUS)
    at = torch.arange(1, previous.shape[-1])
    loss = -(previous[:, at, at - 1] + 1e-6).log().mean()
    for planted in INDUCTION:
        for row, period in enumerate(periods):
            at = torch.arange(period, previous.shape[-1])
            loss = loss - (of(*planted)[row, at, at - period + 1] + 1e-6).log().mean() / len(periods)
    return loss


def warm_up(model, batches, steps, rows, length, rate=4e-4):
    """Trains on repeated segments until 97 % of what can be copied is, or `steps` are over."""
    watched = [model.model.layers[layer].self_attn for layer, _ in [PREVIOUS, *INDUCTION]]
    for attention in watched:
        attention.watched = True
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0)
    for step in range(steps):
        drawn = [batches.repeated(length) for _ in range(rows)]
        ids = torch.from_numpy(np.stack([ids for ids, _, _ in drawn]))
        weights = torch.from_numpy(np.stack([weights for _, weights, _ in drawn]))[:, 1:]
        *_, x = model.states(ids[:, :-1])
        logits, targets = model.head(x), ids[:, 1:]
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        loss = (losses * weights.flatten()).sum() / weights.sum()
        (loss + ATTENTION_SHARE * attention_loss(model, [period for _, _, period in drawn])).backward()
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 10)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        right = ((logits.argmax(-1) == targets) & (weights > 0.5)).sum().item() / (weights > 0.5).sum().item()
        if step % 10 == 9 or step + 1 == steps:
            print(f"copying, step {step + 1}: loss {loss.item():.3f}, right {right:.3f}", flush=True)
        if right > 0.97:
            break
    for attention in watched:
        attention.watched = False
