#!/usr/bin/env python3
"""Trains the reference model: copying first, then conversations and documents at growing lengths, with LayerSkip's recipe
(Elhoushi et al. 2024): layers are dropped more often the deeper they lie, and a second loss, through the shared norm and head,
falls on one rotating earlier layer, so that the model may be left early.

    prepare.py DATA && train.py DATA OUT.pt --minutes 180 [--start OTHER.pt] [--bf16] [--steps N]
    export.py OUT.pt DIRECTORY --tokenizer DATA/tokenizer.json

Set OMP_WAIT_POLICY=PASSIVE: threads that spin halve the speed on a small machine.
--start goes on from a checkpoint (weights only) and skips the copying phase. PyTorch 1.13 will do; 2 with --bf16 is faster.
"""
import argparse
import math
import os
import time

import torch
import torch.nn.functional as F

import copying
from batches import ANSWER_WEIGHT, Batches
from bpe import Tokenizer
from model import Decoder, Dimensions

# Until this share of the budget: the mix of texts, rows and length of a batch, layer dropout of the deepest layer.
PHASES = [
    (0.15, {"repeat": 0.20, "dense": 0.50, "docs": 0.30}, 8, 256, 0.0),
    (0.60, {"repeat": 0.03, "dense": 0.15, "chat": 0.30, "docs": 0.52}, 16, 512, 0.1),
    (0.82, {"repeat": 0.02, "chat": 0.14, "docs": 0.46, "long": 0.20, "far": 0.18}, 4, 2048, 0.1),
    (1.00, {"chat": 0.10, "docs": 0.38, "long": 0.20, "far": 0.32}, 2, 4096, 0.1),
]
EXIT_LOSS_SHARE = 0.3
WARM_STEPS, CLIP, WEIGHT_DECAY = 100, 1.0, 0.05
SAVE_SECONDS = 900


def learning_rate(peak, step, share):
    """Up within WARM_STEPS, level for a third of the budget, then down in a line."""
    down = 1.0 if share < 0.35 else max(0.04, (1 - share) / 0.65)
    return peak * min(1, 0.1 + (step + 1) / WARM_STEPS) * down


def kept_layers(layers, dropout):
    """Layer l is dropped with probability dropout * (2^(l / (layers - 1)) - 1)."""
    odds = [dropout * (2 ** (layer / max(1, layers - 1)) - 1) for layer in range(layers)]
    return [float(torch.rand(())) >= p for p in odds]


def step_loss(model, batch, keep, exit_layer):
    """(loss of the last layer, that plus the exit's share)."""
    inputs, targets, weights = batch
    chosen = None
    for index, x in enumerate(model.states(inputs, keep)):
        if index + 1 == exit_layer:
            chosen = x

    def weighted(states):
        losses = F.cross_entropy(model.head(states).float().flatten(0, 1), targets.flatten(), reduction="none")
        return (losses * weights.flatten()).sum() / weights.sum()

    final = weighted(x)
    return final, final if chosen is None else final + EXIT_LOSS_SHARE * weighted(chosen)


@torch.no_grad()
def evaluate(model, batches, kind, length, pieces=8):
    """(loss per token, share of answer tokens right, per exit the share of tokens as the last layer has them)."""
    loss = right = answers = count = 0
    agree = torch.zeros(model.dims.layers)
    for inputs, targets, weights in batches.held_out(kind, length, pieces):
        best = []
        for x in model.states(inputs):
            logits = model.head(x)[0]
            best.append(logits.argmax(-1))
        loss += F.cross_entropy(logits, targets).item()
        answer = weights == ANSWER_WEIGHT
        right += ((best[-1] == targets) & answer).sum().item()
        answers += answer.sum().item()
        agree += torch.tensor([(b == best[-1]).float().mean().item() for b in best])
        count += 1
    return loss / max(1, count), right / max(1, answers), (agree / max(1, count)).tolist()


def report(model, batches, longest):
    model.eval()
    for kind, length in (("docs", 512), ("chat", 512), ("long", 2048)):
        loss, right, agree = evaluate(model, batches, kind, min(length, longest))
        print(f"{kind}: loss {loss:.3f}, answers right {right:.3f}, exits " + " ".join(f"{a:.2f}" for a in agree), flush=True)
    model.train()


def optimizer_of(model):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    return torch.optim.AdamW([{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}],
                             betas=(0.9, 0.95))


def train(model, batches, options):
    optimizer, begin = optimizer_of(model), time.monotonic()
    layers, seen, step, saved = model.dims.layers, 0, 0, begin
    average = None
    while True:
        elapsed = time.monotonic() - begin
        share = step / options.steps if options.steps else elapsed / (options.minutes * 60)
        if share >= 1:
            return
        _, mix, rows, length, dropout = next(phase for phase in PHASES if share < phase[0])
        if options.longest:
            rows, length = 2, min(length, options.longest)
        batch = batches.sample(mix, rows, length)
        exit_layer = 1 + step // 2 % (layers - 1) if step % 2 else None
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            final, loss = step_loss(model, batch, kept_layers(layers, dropout), exit_layer)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(options.rate, step, share)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        step, seen = step + 1, seen + batch[0].numel()
        average = final.item() if average is None else 0.97 * average + 0.03 * final.item()
        if not math.isfinite(average):
            raise SystemExit(f"the loss is {average} at step {step}: lower --rate")
        if step % 20 == 0 or step == options.steps:
            print(f"step {step}: {share:.0%}, {seen / 1e6:.2f} M tokens, loss {average:.3f}, "
                  f"{seen / (time.monotonic() - begin):.0f} tokens/s", flush=True)
        if time.monotonic() - saved > SAVE_SECONDS:
            saved = time.monotonic()
            torch.save(model.state_dict(), options.out)
            report(model, batches, options.longest or 2048)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--minutes", type=float, default=180)
    parser.add_argument("--steps", type=int, default=0, help="a budget in steps instead of minutes")
    parser.add_argument("--start")
    parser.add_argument("--rate", type=float, default=9e-4)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--copying-steps", type=int, default=150)
    parser.add_argument("--longest", type=int, default=0, help="cut batches to this length (for a trial)")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    tokenizer = Tokenizer.load(os.path.join(options.data, "tokenizer.json"))
    batches = Batches(options.data, tokenizer, options.seed)
    model = Decoder(Dimensions(vocab=tokenizer.size))
    if options.start:
        model.load_state_dict(torch.load(options.start))
    else:
        copying.plant(model)
        rows, length = (2, options.longest) if options.longest else (16, 128)
        copying.warm_up(model, batches, options.copying_steps, rows, length)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    train(model, batches, options)
    torch.save(model.state_dict(), options.out)
    report(model, batches, options.longest or 2048)


if __name__ == "__main__":
    main()
