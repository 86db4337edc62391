"""Scores the trained weights on held-out captions, exports them, and draws through the reference pipeline."""

import json
import shutil

import export
import fast_flow
import held_out
import layouts
import reference
import samples
import score
import torch
from clock import Log
from contact_sheet import sheet


def forms(flow) -> dict[str, dict]:
    """The weights as trained (bf16) and as the files hold them."""
    full = {name: value.float() for name, value in flow["weights"].items()}
    stored = {}
    for name, value in full.items():
        if not name.startswith(fast_flow.TEXT_PREFIX):
            stored[name] = value.to(layouts.E4M3).float()
        elif layouts.is_linear(name, value):
            eight, scale = layouts.quantise(value, layouts.E4M3)
            stored[name] = eight.float() * scale
        else:
            stored[name] = value
    return {"bf16": full, "fp8": stored}


def adherence(log, flow, vae, size, encoder, device, side, limit):
    entries = held_out.entries()[:: max(1, round(132 / limit))]
    results = {}
    for name, weights in forms(flow).items():
        weights = {key: value.to(device) for key, value in weights.items()}
        for cfg in (4.0, 2.5, 1.5) if name == "fp8" else (4.0,):
            images = [
                samples.generate(weights, vae, flow["stats"], size, encoder, [e["prompt"] for e in part], side, side, device, i, cfg=cfg)
                for i, part in ((i, entries[i : i + 33]) for i in range(0, len(entries), 33))
            ]
            value, failed = score.share(torch.cat(images), entries)
            results[f"{name} cfg {cfg:g}"] = value
            log.say(f"held-out captions that pass, {name}, cfg {cfg:g}: {100 * value:.1f} % of {len(entries)}")
            if cfg == 4.0:
                for prompt, wrong in failed[:40]:
                    log.say(f"  {prompt}: {'; '.join(wrong)}")
    return results


def run(out, size, tokenizer_folder, encoder, device, sides, pictures: int, limit: int):
    log = Log(out, "final", ["value"])
    flow = torch.load(out / "flow.pt", map_location="cpu")
    transformer, text, vae = export.models(out, size, encoder.tokenizer)
    folder = out / "models"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tokenizer_folder, folder / "tokenizer")
    total = export.write(transformer, text, vae, folder, sides)
    log.say(f"exported, {total / 1e6:.2f} MB")
    chosen = [e["prompt"] for e in held_out.entries()[:: max(1, 132 // pictures)]][:pictures]
    log.attempt("reference pictures", pictures_of, log, out, transformer, text, vae, folder, size, encoder, chosen, sides, device)
    vae.to(device)
    results = log.attempt("score", adherence, log, flow, vae, size, encoder, device, sides[0], limit)
    report = {"bytes of all files": total, "steps of the flow stage": flow["step"], "share of held-out captions that pass": results}
    (out / "score.json").write_text(json.dumps(report, indent=1) + "\n")


def pictures_of(log, out, transformer, text, vae, folder, size, encoder, prompts, sides, device):
    for name, pipe in {
        "bf16": reference.pipeline(transformer, text, vae, encoder.tokenizer),
        "fp8": reference.exported(folder, size),
    }.items():
        for module in (pipe.transformer, pipe.text_encoder, pipe.vae):
            module.to(device)
        images = [reference.draw(pipe, prompt, *sides) for prompt in prompts]
        sheet(images, prompts, out / f"reference_{name}.png", columns=4)
        log.say(f"drew {len(images)} pictures through the reference pipeline, {name}")
