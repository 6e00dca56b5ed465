"""Does the Python of other projects read what xd writes, and get the same numbers?

    XD_PUBLISHED=crosscoder_learning python3 tests/interop/published_loader.py [--xd target/release/xd] [--keep FOLDER]

Runs a small experiment, exports its crosscoders, and loads them with
  published  the project's own classes CrossCoder and BatchTopKCrossCoder, of the clone (bare or not) of
             https://github.com/science-of-finetuning/crosscoder_learning that XD_PUBLISHED names, at the commit PINNED (the package
             `dictionary_learning` of PyPI is another one, without crosscoders); and always with formulas written here from docs/method.md 1.1 to
             1.4 on the same files. Versions differ: at this commit config.json calls the number of models `num_layers`, and the buffer
             `activation_global_scale` has one number a model. At 48debb2 (June 2025, https://github.com/jkminder/dictionary_learning) it has
             one in all, so only folders of crosscoders without a normaliser load there, and its CrossCoder cannot be made without `target_rms`,
  saelens    `sae_lens.SAE.load_from_disk` on the exported folders,
  delphi     `delphi.latents.loader.TensorBuffer` on the exported cache, when it can be imported,
  torch      `torch.load(.., weights_only=True)` on every .pt file,
  cache      numpy and torch on the exported activation cache.
Makes a virtual environment with what it needs (torch for the CPU, safetensors, numpy, pandas, einops, sae-lens ..) in the folder that
XD_INTEROP_VENV names, which is used again when it is there, or in a temporary one. What cannot be had is skipped, loudly. Ends with status 1 when
numbers differ by more than 1e-5 of the largest, and with 77 when nothing differs but something was skipped.
"""
import argparse, io, json, os, pathlib, subprocess, sys, tarfile, tempfile, types, venv

# crosscoder_learning of 4 February 2026.
PINNED = "b2363ed54590074ef4667ca6152094800a65f9aa"
NEEDED = {"torch": "torch", "numpy": "numpy", "safetensors": "safetensors", "pandas": "pandas", "einops": "einops", "datasets": "datasets",
          "zstandard": "zstandard", "sae_lens": "sae-lens"}

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
left_out = []

def install():
    """Goes on in the environment that has what is needed."""
    if os.environ.get("XD_INTEROP_INSIDE"):
        return
    folder = pathlib.Path(os.environ.get("XD_INTEROP_VENV") or tempfile.mkdtemp(prefix="xd-interop-venv-"))
    python = folder / "bin/python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    find = f"import importlib.util as u; print(*[m for m in {list(NEEDED)} if u.find_spec(m) is None])"
    missing = subprocess.run([python, "-c", find], capture_output=True, text=True, check=True).stdout.split()
    pip = [python, "-m", "pip", "install", "--quiet"]
    if "torch" in missing:
        print("installing torch for the CPU into", folder)
        if subprocess.run([*pip, "torch", "--index-url", "https://download.pytorch.org/whl/cpu"]).returncode:
            subprocess.run([*pip, "torch"])
    for module in missing:
        if module != "torch":
            print("installing", NEEDED[module], "into", folder)
            subprocess.run([*pip, NEEDED[module]])
    os.execve(python, [str(python), *sys.argv], dict(os.environ, XD_INTEROP_INSIDE="1"))

def versions():
    from importlib.metadata import PackageNotFoundError, version
    for package in NEEDED.values():
        try:
            print(f"{package} {version(package)}", end="  ")
        except PackageNotFoundError:
            pass
    print()

def said(name, difference, note=""):
    verdict = "same" if difference <= TOLERANCE else "DIFFERENT"
    results.append((name, difference <= TOLERANCE))
    print(f"{verdict:10} {name:34} largest difference {difference:.1e} of the largest value  {note}")

def skipped(name, why):
    left_out.append(name)
    print(f"SKIPPED    {name:34} {why}")

def apart(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()

def main():
    parser = argparse.ArgumentParser()
    here = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--xd", default=here / "target/release/xd", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path)
    arguments = parser.parse_args()
    install()
    try:
        import numpy, safetensors.torch, torch
    except ImportError as error:
        print(f"SKIPPED, NOTHING WAS COMPARED: {error}", file=sys.stderr)
        return 77
    versions()
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
    xd("export", "e.xd", "cc[loss=topk]", "--as", "published", "--lossy", "--out", "topk-published")
    xd("export", "e.xd", "cc[loss=topk]", "--as", "delphi", "--out", "topk-delphi", "--part", "validate")
    xd("export", "e.xd", "inner", "--as", "published", "--out", "inner-published")
    xd("export", "e.xd", "inner", "--as", "torch", "--out", "inner.pt")
    xd("export", "e.xd", "inner", "--as", "saelens", "--out", "inner-saelens")
    xd("export", "e.xd", "inner", "--as", "delphi", "--out", "inner-delphi", "--part", "validate")
    xd("export", "e.xd", "acts", "--as", "tensors", "--out", "acts.safetensors", "--part", "validate")
    xd("export", "e.xd", "acts", "--as", "cache", "--out", "cache", "--part", "validate")
    xd("export", "e.xd", "nu[loss=batch_topk]", "--as", "latent_df", "--out", "latent_df.csv")
    rows = safetensors.torch.load_file(folder / "acts.safetensors")
    # What xd itself gives: the delphi export holds f_j S_j of all validation rows but the last ones; for the others xd's import compares both on a
    # probe.
    ours = features_of_delphi(folder / "delphi", rows, torch)
    held = ~ours.isnan().any(1)
    x = rows["activations"][held][:512]
    ours = ours[held]
    inner = features_of_delphi(folder / "inner-delphi", rows, torch)[held][:512]

    own = {point: own_features(folder / f"{point}-published", x, torch, safetensors.torch) for point in points}
    top = own["topk"][0] * own["topk"][2]
    theirs = features_of_delphi(folder / "topk-delphi", rows, torch)[held][:512]
    said("top-k: formulas / xd's encode", apart(theirs, top), f"{(top > 0).sum(1).float().mean():.1f} active a row")
    scaled = own["batch_topk"][0] * own["batch_topk"][2]
    said("published: formulas / xd's encode", apart(ours[:512], scaled), f"{(scaled > 0).sum(1).float().mean():.1f} active a row")
    clone = os.environ.get("XD_PUBLISHED", "")
    if not clone or not has(clone, PINNED):
        skipped("published: the project's classes", f"XD_PUBLISHED names no clone that has the commit {PINNED}")
    else:
        with tempfile.TemporaryDirectory() as place:
            archive = subprocess.run(["git", "-C", clone, "archive", PINNED, "dictionary_learning"], capture_output=True, check=True).stdout
            tarfile.open(fileobj=io.BytesIO(archive)).extractall(place)
            package = pathlib.Path(place) / "dictionary_learning"
            published(folder, x, own, inner, torch, package, PINNED[:7])
            theirs_of_cache(folder, rows, torch, package, PINNED[:7])
    saelens(folder, x, own, torch)
    torch_files(folder, own, x, torch)
    delphi(folder, rows, torch, safetensors.torch)
    cache(folder, rows, torch, numpy)
    table(folder)
    failed = [name for name, fine in results if not fine]
    print(f"{len(results) - len(failed)} of {len(results)} agree within {TOLERANCE:g}")
    if left_out:
        print(f"SKIPPED, NOT COMPARED: {', '.join(left_out)}", file=sys.stderr)
    return 1 if failed or not results else 77 if left_out else 0

def has(clone, commit):
    return subprocess.run(["git", "-C", clone, "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True).returncode == 0

def load_module(package, name):
    """A module of the published package, without what its `__init__` asks for; names of nnsight stand in annotations only."""
    for module in [module for module in sys.modules if module.split(".")[0] == "dictionary_learning"]:
        del sys.modules[module]
    stub = types.ModuleType("dictionary_learning")
    stub.__path__ = [str(package)]
    sys.modules["dictionary_learning"] = stub
    try:
        import nnsight
    except Exception:
        sys.modules["nnsight"] = types.ModuleType("nnsight")
        sys.modules["nnsight"].LanguageModel = object
    import importlib
    return importlib.import_module(f"dictionary_learning.{name}")

def delphi_places(rows, context):
    """Where each row of a portion stands in delphi's cache: documents lie one behind the other, each up to its last row, in sequences of `context`
    tokens. Rows of the last sequence, which is not full, are left out."""
    ends = {}
    for c, s, p in zip(*(rows[k].tolist() for k in ["corpus", "sequence", "position"])):
        ends[(c, s)] = max(ends.get((c, s), 0), p + 1)
    starts, total = {}, 0
    for document in sorted(ends):
        starts[document] = total
        total += ends[document]
    index = [starts[(c, s)] + p for c, s, p in zip(*(rows[k].tolist() for k in ["corpus", "sequence", "position"]))]
    return {divmod(i, context): row for row, i in enumerate(index) if i < total // context * context}

def features_of_delphi(folder, rows, torch):
    """f_j S_j [rows, D]; rows that the cache does not hold are NaN."""
    from safetensors.torch import load_file
    files = list((folder / "crosscoder").glob("*.safetensors"))
    latents = 1 + max(int(f.stem.split("_")[1]) for f in files)
    dense = torch.full((len(rows["tokens"]), latents), float("nan"))
    for file in files:
        data, first = load_file(file), int(file.stem.split("_")[0])
        tokens = data["tokens"]
        places = delphi_places(rows, tokens.shape[1])
        for (s, p), row in places.items():
            assert tokens[s, p] == rows["tokens"][row], f"another token at {s}, {p}"
            dense[row, first:int(file.stem.split("_")[1]) + 1] = 0
        for (s, p, j), value in zip(data["locations"].tolist(), data["activations"].tolist()):
            dense[places[(s, p)], first + j] = value
    return dense

def own_features(folder, x, torch, safetensors):
    """docs/method.md 1.1, 1.2, 1.4 on the published files: features, reconstruction, code norms. A crosscoder with a k a row and no threshold
    keeps the k highest f_j S_j of each row."""
    w = safetensors.load_file(folder / "model.safetensors")
    f = (torch.einsum("bmd,mdl->bl", x, w["encoder.weight"]) + w["encoder.bias"]).relu()
    norms = w["decoder.weight"].norm(dim=2).sum(0)
    if "threshold" in w:
        f = f * (f * norms > w["threshold"])
    elif "k" in w:
        best = (f * norms).topk(int(w["k"]), dim=1).indices
        f = f * torch.zeros_like(f).scatter(1, best, 1)
    return f, torch.einsum("bl,mld->bmd", f, w["decoder.weight"]) + w["decoder.bias"], norms

def published(folder, x, own, inner, torch, package, commit):
    try:
        module = load_module(package, "dictionary")
        BatchTopKCrossCoder, CrossCoder = module.BatchTopKCrossCoder, module.CrossCoder
    except Exception as error:
        return skipped(f"published {commit}: the classes", f"{error}")
    for point, loader in [("l1", CrossCoder), ("batch_topk", BatchTopKCrossCoder)]:
        f, reconstruction, norms = own[point]
        for form, load in [("folder", lambda: loader.from_pretrained(str(folder / f"{point}-published"), from_hub=True)),
                           (".pt", lambda: loader.from_pretrained(str(folder / f"{point}.pt")))]:
            name = f"published {commit}: {loader.__name__}, {form}"
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
        name = f"published {commit}: normalised, {form}"
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
        return skipped("saelens", f"{error}")
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
    # Its features are f_j S_j: S_j stands in the weights.
    f, reconstruction, norms = own["topk"]
    with torch.no_grad():
        g = joint.encode(both)
        g = g.to_dense() if g.is_sparse else g
        said(f"saelens: topk, joint ({joint.cfg.architecture()})", max(apart(g, f * norms), apart(joint.decode(g), reconstruction.flatten(1))),
             f"{(g > 0).sum(1).float().mean():.1f} active a row")

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
    dense = torch.zeros_like(f)
    for file in (folder / "delphi/crosscoder").glob("*.safetensors"):
        buffer = TensorBuffer(str(file), "crosscoder")
        places = delphi_places(rows, buffer.tokens.shape[1])
        for latent, locations, activations in zip(*buffer.load_data_per_latent()):
            for (s, p, _), value in zip(locations.tolist(), activations.tolist()):
                dense[places[(s, p)], int(latent)] = value
                assert buffer.tokens[s, p] == rows["tokens"][places[(s, p)]]
    kept = sorted(places.values())
    dense, f = dense[kept], f[kept]
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

def theirs_of_cache(folder, rows, torch, package, commit):
    order = sorted(range(len(rows["tokens"])), key=lambda r: tuple(int(rows[k][r]) for k in ["corpus", "sequence", "position"]))
    for model, name in enumerate(["base", "tuned"]):
        try:
            theirs = load_module(package, "cache").ActivationCache(str(folder / "cache" / name), "xd_out")
        except Exception as error:
            skipped(f"cache {commit}: {name}, ActivationCache", f"{error}")
            continue
        difference = apart(theirs[0:len(theirs)], rows["activations"][order, model])
        tokens_differ = not torch.equal(theirs.tokens, rows["tokens"][order]) or theirs.sequence_ranges is None
        said(f"cache {commit}: {name}, ActivationCache", max(difference, float(tokens_differ)), f"{len(theirs)} rows")

def table(folder):
    try:
        import pandas
    except ImportError as error:
        return skipped("latent_df", f"{error}")
    df = pandas.read_csv(folder / "latent_df.csv", index_col=0)
    norms = df["dec_base_norm"], df["dec_instruct_norm"]
    diff = 0.5 * (1 + (norms[0] - norms[1]) / pandas.concat(norms, axis=1).max(axis=1))
    said("latent_df: dec_norm_diff by pandas", float((diff - df["dec_norm_diff"]).abs().max()), f"{df['tag'].value_counts().to_dict()}")

if __name__ == "__main__":
    sys.exit(main())
