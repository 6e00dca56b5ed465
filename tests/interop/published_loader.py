"""Does the Python of other projects read what xd writes, and get the same numbers?

    python tests/interop/published_loader.py [--xd target/release/xd] [--keep FOLDER]

Runs a small experiment, exports its crosscoders, and loads them with
  published  the project's own classes CrossCoder and BatchTopKCrossCoder, when a `dictionary_learning` (or `crosscoder_learning`) that has them
             can be imported (put it on PYTHONPATH: the package of that name on PyPI is another one, without crosscoders); and always with a
             class written here from docs/method.md 1.1 to 1.4 on the same files,
  saelens    `sae_lens.SAE.load_from_disk` on the exported folders,
  delphi     `delphi.latents.loader.TensorBuffer` on the exported cache, when it can be imported,
  torch      `torch.load(.., weights_only=True)` on every .pt file,
  cache      numpy and torch on the exported activation cache.
Needs torch, safetensors and numpy; sae-lens and delphi come from PyPI (`pip install sae-lens`). What cannot be imported is skipped, loudly. Ends
with status 1 when numbers differ by more than 1e-5 of the largest.
"""
import argparse, json, os, pathlib, subprocess, sys, tempfile

FILE = """xd 1
model base = folder("ORGANISM/base")
model chat = folder("ORGANISM/chat")
pair organism {
  base  = base
  tuned = chat
}
corpus talk = jsonl("ORGANISM/texts/chat.jsonl", column = "messages", template = tokenizer)
activations acts {
  of       = organism
  layer    = 3
  context  = 128 tokens
  train    = [20K tokens of talk]
  validate = [4K tokens of talk]
  store    = f32
}
crosscoder cc for loss in [l1(weight = 0.06), batch_topk(k = 8, threshold_from = 50 steps), topk(k = 8)] {
  on      = acts
  latents = 4x
  train {
    batch     = 512 tokens
    length    = 300 steps
    optimizer = adam(lr = 1e-3, warmup = 20 steps)
  }
}
activations scaled {
  of        = organism
  layer     = 3
  context   = 128 tokens
  train     = [20K tokens of talk]
  validate  = [4K tokens of talk]
  store     = f32
  normalize = rms(10)
}
crosscoder inner {
  on      = scaled
  latents = 4x
  loss    = batch_topk(k = 8, threshold_from = 50 steps)
  train {
    batch     = 512 tokens
    length    = 300 steps
    optimizer = adam(lr = 1e-3, warmup = 20 steps)
  }
}
classify classes { of = cc }
classify inside { of = inner }
scaling nu { of = cc }
table verdicts {
  rows    = [classes, nu]
  group   = [loss, class]
  columns = [loss, class, count()]
}
"""
TOLERANCE = 1e-5
results = []

def said(name, difference, note=""):
    verdict = "same" if difference <= TOLERANCE else "DIFFERENT"
    results.append((name, difference <= TOLERANCE))
    print(f"{verdict:10} {name:34} largest difference {difference:.1e} of the largest value  {note}")

def skipped(name, why):
    print(f"SKIPPED    {name:34} {why}")

def apart(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()

def main():
    parser = argparse.ArgumentParser()
    here = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--xd", default=here / "target/release/xd", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path)
    arguments = parser.parse_args()
    try:
        import numpy, safetensors.torch, torch
    except ImportError as error:
        skipped("everything", f"{error}; pip install torch numpy safetensors")
        return 0
    folder = arguments.keep or pathlib.Path(tempfile.mkdtemp(prefix="xd-interop-"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "e.xd").write_text(FILE.replace("ORGANISM", str(here / "experiments/organism")))

    def xd(*words):
        done = subprocess.run([arguments.xd.resolve(), *map(str, words)], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"xd {' '.join(map(str, words))}\n{done.stdout}{done.stderr}")

    xd("run", "e.xd")
    points = ["l1", "batch_topk", "topk"]
    for point in points:
        for kind in (["published", "torch", "kissane"] if point == "l1" else ["published", "torch"] if point == "batch_topk" else []) + ["saelens", "crosscode"][: 1 if point == "topk" else 2]:
            xd("export", "e.xd", f"cc[loss={point}]", "--as", kind, "--out", f"{point}.pt" if kind == "torch" else f"{point}-{kind}")
    xd("export", "e.xd", "cc[loss=batch_topk]", "--as", "delphi", "--out", "delphi", "--part", "validate")
    xd("export", "e.xd", "inner", "--as", "published", "--out", "inner-published")
    xd("export", "e.xd", "inner", "--as", "torch", "--out", "inner.pt")
    xd("export", "e.xd", "inner", "--as", "saelens", "--out", "inner-saelens")
    xd("export", "e.xd", "inner", "--as", "delphi", "--out", "inner-delphi", "--part", "validate")
    xd("export", "e.xd", "acts", "--as", "tensors", "--out", "acts.safetensors", "--part", "validate")
    xd("export", "e.xd", "acts", "--as", "cache", "--out", "cache", "--part", "validate")
    xd("export", "e.xd", "nu[loss=batch_topk]", "--as", "latent_df", "--out", "latent_df.csv")
    rows = safetensors.torch.load_file(folder / "acts.safetensors")
    x = rows["activations"][:512]

    # What xd itself gives: the delphi export holds f_j S_j of every validation row; for the others xd's import compares both on a probe.
    ours = features_of_delphi(folder / "delphi", rows, torch)
    inner = features_of_delphi(folder / "inner-delphi", rows, torch)[:512]

    own = {point: own_features(folder / f"{point}-published", x, torch, safetensors.torch) for point in ["l1", "batch_topk"]}
    scaled = own["batch_topk"][0] * own["batch_topk"][2]
    said("published: formulas / xd's encode", apart(ours[:512], scaled), f"{(scaled > 0).sum(1).float().mean():.1f} active a row")
    published(folder, x, own, inner, torch)
    saelens(folder, x, own, torch)
    torch_files(folder, own, x, torch)
    delphi(folder, rows, torch, safetensors.torch)
    cache(folder, rows, torch, numpy)
    table(folder)
    failed = [name for name, fine in results if not fine]
    print(f"{len(results) - len(failed)} of {len(results)} agree within {TOLERANCE:g}")
    return 1 if failed or not results else 0

def features_of_delphi(folder, rows, torch):
    from safetensors.torch import load_file
    sequences = sorted(set(zip(rows["corpus"].tolist(), rows["sequence"].tolist())))
    index = {sequence: place for place, sequence in enumerate(sequences)}
    row_of = {(index[(c, s)], p): row for row, (c, s, p) in enumerate(zip(*(rows[k].tolist() for k in ["corpus", "sequence", "position"])))}
    files = list((folder / "crosscoder").glob("*.safetensors"))
    latents = 1 + max(int(f.stem.split("_")[1]) for f in files)
    dense = torch.zeros(len(row_of), latents)
    for file in files:
        data, first = load_file(file), int(file.stem.split("_")[0])
        for (s, p, j), value in zip(data["locations"].tolist(), data["activations"].tolist()):
            dense[row_of[(s, p)], first + j] = value
    return dense

def own_features(folder, x, torch, safetensors):
    """docs/method.md 1.1, 1.2, 1.4 on the published files: features, reconstruction, code norms."""
    w = safetensors.load_file(folder / "model.safetensors")
    f = (torch.einsum("bmd,mdl->bl", x, w["encoder.weight"]) + w["encoder.bias"]).relu()
    norms = w["decoder.weight"].norm(dim=2).sum(0)
    if "threshold" in w:
        f = f * (f * norms > w["threshold"])
    return f, torch.einsum("bl,mld->bmd", f, w["decoder.weight"]) + w["decoder.bias"], norms

def published(folder, x, own, inner, torch):
    try:
        try:
            from crosscoder_learning.dictionary import BatchTopKCrossCoder, CrossCoder
        except ImportError:
            from dictionary_learning.dictionary import BatchTopKCrossCoder, CrossCoder
    except Exception as error:
        return skipped("published: the project's classes", f"{error}")
    for point, loader in [("l1", CrossCoder), ("batch_topk", BatchTopKCrossCoder)]:
        f, reconstruction, norms = own[point]
        for form, load in [("folder", lambda: loader.from_pretrained(str(folder / f"{point}-published"), from_hub=True)),
                           (".pt", lambda: loader.from_pretrained(str(folder / f"{point}.pt")))]:
            name = f"published: {loader.__name__}, {form}"
            try:
                theirs = load()
                with torch.no_grad():
                    g = theirs.encode(x)
                    said(name, max(apart(g, f), apart(theirs.decode(g), reconstruction), apart(theirs.get_activations(x), f * norms)),
                         f"{(g > 0).sum(1).float().mean():.1f} active a row")
            except Exception as error:
                results.append((name, False))
                print(f"FAILED     {name:34} {type(error).__name__}: {error}")

    # Trained on rows of `normalize = rms(10)`, exported as a crosscoder of rows as they are: its activations are those that xd has on scaled rows.
    for form, load in [("folder", lambda: BatchTopKCrossCoder.from_pretrained(str(folder / "inner-published"), from_hub=True)),
                       (".pt", lambda: BatchTopKCrossCoder.from_pretrained(str(folder / "inner.pt")))]:
        name = f"published: normalised, {form}"
        try:
            theirs = load()
            with torch.no_grad():
                g = theirs.get_activations(x)
            said(name, apart(g, inner), f"normaliser {'on' if theirs.has_activation_normalizer else 'OFF'}, {(g > 0).sum(1).float().mean():.1f} active a row")
        except Exception as error:
            results.append((name, False))
            print(f"FAILED     {name:34} {type(error).__name__}: {error}")

def saelens(folder, x, own, torch):
    try:
        from sae_lens import SAE
    except Exception as error:
        return skipped("saelens", f"{error}; pip install sae-lens")
    both = x.flatten(1)
    for point in ["l1", "batch_topk"]:
        f, reconstruction, _ = own[point]
        joint = SAE.load_from_disk(str(folder / f"{point}-saelens/joint"))
        with torch.no_grad():
            g = joint.encode(both)
            said(f"saelens: {point}, joint ({joint.cfg.architecture()})", max(apart(g, f), apart(joint.decode(g), reconstruction.flatten(1))))
            for model, name in enumerate(["base", "tuned"]):
                slice_ = SAE.load_from_disk(str(folder / f"{point}-saelens/{name}"))
                said(f"saelens: {point}, {name} decodes", apart(slice_.decode(f), reconstruction[:, model]),
                     f"encoding alone is {apart(slice_.encode(x[:, model]), f):.2f} apart, as stated")
    joint = SAE.load_from_disk(str(folder / "topk-saelens/joint"))
    with torch.no_grad():
        g = joint.encode(both)
    print(f"           saelens: topk, joint ({joint.cfg.architecture()}) fires {(g > 0).sum(1).float().mean():.1f} a row")

def torch_files(folder, own, x, torch):
    for file in [folder / "l1.pt", folder / "batch_topk.pt"]:
        state = torch.load(file, weights_only=True)
        f, _, norms = own[file.stem]
        g = (torch.einsum("bmd,mdl->bl", x, state["encoder.weight"]) + state["encoder.bias"]).relu()
        if "threshold" in state:
            g = g * (g * norms > state["threshold"])
        said(f"torch.load: {file.name}", apart(g, f))
    w = torch.load(folder / "l1-kissane/cc_weights.pt", weights_only=True)
    f, reconstruction, _ = own["l1"]
    g = (torch.einsum("bnd,ndh->bh", x, w["W_enc"]) + w["b_enc"]).relu()
    said("kissane: cc_weights.pt", max(apart(g, f), apart(torch.einsum("bh,hnd->bnd", g, w["W_dec"]) + w["b_dec"], reconstruction)))
    for point in ["l1", "batch_topk"]:
        w = torch.load(folder / f"{point}-crosscode/model.pt", weights_only=True)
        f, reconstruction, _ = own[point]
        pre = torch.einsum("bmpd,mpdl->bl", x[:, :, None], w["_W_enc_XiDiL"]) + w["b_enc_L"]
        log = w.get("_activation_fn.log_threshold_L")
        g = pre.relu() if log is None else pre * (pre > log.exp())
        back = torch.einsum("bl,lmpd->bmpd", g, w["_W_dec_LXoDo"]) + w["_b_dec_XoDo"]
        said(f"crosscode: {point}, model.pt", max(apart(g, f), apart(back[:, :, 0], reconstruction)))

def delphi(folder, rows, torch, safetensors):
    try:
        from delphi.latents.loader import TensorBuffer
    except Exception as error:
        return skipped("delphi", f"{error} (the package of that name on PyPI is another one)")
    f, _, norms = own_features(folder / "batch_topk-published", rows["activations"], torch, safetensors)
    sequences = sorted(set(zip(rows["corpus"].tolist(), rows["sequence"].tolist())))
    index = {sequence: place for place, sequence in enumerate(sequences)}
    places = {(index[(c, s)], p): row for row, (c, s, p) in enumerate(zip(*(rows[k].tolist() for k in ["corpus", "sequence", "position"])))}
    dense = torch.zeros_like(f)
    for file in (folder / "delphi/crosscoder").glob("*.safetensors"):
        buffer = TensorBuffer(str(file), "crosscoder")
        for latent, locations, activations in zip(*buffer.load_data_per_latent()):
            for (s, p, _), value in zip(locations.tolist(), activations.tolist()):
                dense[places[(s, p)], int(latent)] = value
                assert buffer.tokens[s, p] == rows["tokens"][places[(s, p)]]
    said("delphi: TensorBuffer", apart(dense, f * norms), f"{int((dense > 0).sum())} activations, tokens checked")

def cache(folder, rows, torch, numpy):
    order = sorted(range(len(rows["tokens"])), key=lambda r: tuple(int(rows[k][r]) for k in ["corpus", "sequence", "position"]))
    for model, name in enumerate(["base", "tuned"]):
        at = folder / "cache" / name / "xd_out"
        config = json.loads((at / "config.json").read_text())
        shards = []
        for i in range(config["shard_count"]):
            meta = json.loads((at / f"shard_{i}.meta").read_text())
            shards.append(torch.tensor(numpy.memmap(at / f"shard_{i}.memmap", dtype="float32", mode="r", shape=tuple(meta["shape"]))))
        said(f"cache: {name}, numpy.memmap", apart(torch.cat(shards), rows["activations"][order, model]))
        tokens = torch.load(at.parent / "tokens.pt", weights_only=True)
        ranges = torch.load(at.parent / "sequence_ranges.pt", weights_only=True)
        said(f"cache: {name}, tokens.pt", float(not torch.equal(tokens, rows["tokens"][order])), f"{len(ranges) - 1} sequences")
        try:
            from dictionary_learning.cache import ActivationCache
            theirs = ActivationCache(str(at.parent), "xd_out")
        except Exception as error:
            skipped(f"cache: {name}, ActivationCache", f"{error}")
            continue
        difference = apart(theirs[0:len(theirs)], rows["activations"][order, model])
        tokens_differ = not torch.equal(theirs.tokens, rows["tokens"][order]) or theirs.sequence_ranges is None
        said(f"cache: {name}, ActivationCache", max(difference, float(tokens_differ)), f"{len(theirs)} rows")

def table(folder):
    try:
        import pandas
    except ImportError as error:
        return skipped("latent_df", f"{error}; pip install pandas")
    df = pandas.read_csv(folder / "latent_df.csv", index_col=0)
    norms = df["dec_base_norm"], df["dec_instruct_norm"]
    diff = 0.5 * (1 + (norms[0] - norms[1]) / pandas.concat(norms, axis=1).max(axis=1))
    said("latent_df: dec_norm_diff by pandas", float((diff - df["dec_norm_diff"]).abs().max()), f"{df['tag'].value_counts().to_dict()}")

if __name__ == "__main__":
    sys.exit(main())
