"""Train, prune, quantize, compress, save, load elsewhere and run: the main job, on two networks.

`python -m benchmarks.demo_digits` does it for LeNet-300-100 and LeNet-5 on scikit-learn's digits.
The files are loaded by a fresh process, which has nothing but them and the plain weights.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn
from tqdm import tqdm

import cnnzip
from benchmarks.demo_figures import (
    coded_layers,
    layer_table,
    rival_sizes,
    size_table,
    timed,
    unequal_tensors,
)
from benchmarks.networks import (
    RECIPES,
    Digits,
    accuracy,
    digits,
    one_thread,
    prune_with_retraining,
    share_weights,
    test_logits,
    train,
    zero_fraction,
)

ROOT = Path(__file__).resolve().parent.parent
PRUNING_STEPS = 4
N_RIVALS = 4


def prepare(
    network: str, model: nn.Module, data: Digits, seed: int, figures: dict[str, Any], bar: tqdm
) -> None:
    """Train, prune and quantize `model` in place; the accuracies are *written* to `figures`."""
    recipe = RECIPES[network]
    bar.set_description(f"{network}: train")
    train(model, data, recipe.epochs, seed, tick=bar.update)
    figures["accuracy_dense"] = accuracy(model, data)
    bar.set_description(f"{network}: prune")
    sparsity, epochs = recipe.sparsity, recipe.retraining_epochs
    prune_with_retraining(model, sparsity, data, epochs, seed, PRUNING_STEPS, tick=bar.update)
    figures["zero_fraction"] = zero_fraction(model)
    figures["accuracy_pruned"] = accuracy(model, data)
    share_weights(model, recipe.levels)
    figures["accuracy_shared"] = accuracy(model, data)


def demonstrate(network: str, data: Digits, folder: Path, seed: int, bar: tqdm) -> dict[str, Any]:
    """Take one network the whole way; return all figures.

    The plain weights, their logits and the coded file are *written* into `folder`.
    """
    recipe = RECIPES[network]
    figures: dict[str, Any] = {"network": network, "levels": recipe.levels}
    model = recipe.make(seed)
    with one_thread():
        _, figures["seconds_training"] = timed(
            lambda: prepare(network, model, data, seed, figures, bar)
        )

    bar.set_description(f"{network}: compress")
    path = folder / f"{network}.cnnz"
    np.save(path.with_suffix(".npy"), test_logits(model, data).numpy())
    packed, figures["seconds_compress"] = timed(lambda: cnnzip.compress(model))
    bar.update()
    figures["report"], figures["seconds_save"] = timed(lambda: cnnzip.save(packed, path))
    figures["file_bytes"] = path.stat().st_size
    bar.update()

    bar.set_description(f"{network}: rivals")
    figures["rival_bytes"] = rival_sizes(model.state_dict(), path.with_suffix(""), tick=bar.update)
    bar.set_description(f"{network}: load in a fresh process")
    figures["fresh_process"] = evaluate_in_fresh_process(path, network)
    bar.update()
    return figures


def evaluate_in_fresh_process(path: Path, network: str) -> dict[str, Any]:
    """Run `evaluate` in a new interpreter."""
    command = [sys.executable, "-m", "benchmarks.demo_digits", "--network", network]
    command += ["--evaluate", str(path.resolve())]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def evaluate(path: Path, network: str) -> dict[str, Any]:
    """Load a coded file and compare it with the plain weights and logits that lie beside it."""
    data = digits()
    plain_model = RECIPES[network].build()
    model, seconds_load = timed(lambda: cnnzip.load(path, model=plain_model).eval())
    logits, seconds_test_set = timed(lambda: test_logits(model, data).numpy())
    expected = np.load(path.with_suffix(".npy"))

    plain = safetensors.torch.load_file(path.with_suffix(".safetensors"))
    return {
        "accuracy_coded": accuracy(model, data),
        "coded_layers": coded_layers(model),
        "max_logit_difference": float(np.abs(logits - expected).max()),
        "max_logit": float(np.abs(expected).max()),
        "n_tensors": len(plain),
        "unequal_tensors": unequal_tensors(plain, cnnzip.load(path)),
        "seconds_load": seconds_load,
        "seconds_test_set": seconds_test_set,
    }


def describe(figures: dict[str, Any], n_test: int) -> str:
    """Lay out the figures of one network for a reader."""
    fresh = figures["fresh_process"]
    levels, n_coded = figures["levels"], len(fresh["coded_layers"])
    n_equal = fresh["n_tensors"] - len(fresh["unequal_tensors"])
    difference = fresh["max_logit_difference"] / fresh["max_logit"]
    return f"""\
== {figures["network"]}: {figures["zero_fraction"]:.1%} zeros, at most {levels} values a layer

accuracy on {n_test} test images
  dense                 {figures["accuracy_dense"]:7.2%}
  pruned and retrained  {figures["accuracy_pruned"]:7.2%}
  weights shared        {figures["accuracy_shared"]:7.2%}
  coded, fresh process  {fresh["accuracy_coded"]:7.2%}

{layer_table(figures["report"])}

{size_table(figures["rival_bytes"], figures["file_bytes"])}

fresh process: {n_equal} of {fresh["n_tensors"]} tensors equal, {n_coded} layers run coded,
  logits differ by at most {difference:.1e} of the largest

seconds (the first time, compiling kernels is included)
  train, prune, share   {figures["seconds_training"]:7.2f}
  compress              {figures["seconds_compress"]:7.2f}
  save, verified        {figures["seconds_save"]:7.2f}
  load, fresh process   {fresh["seconds_load"]:7.2f}
  run the test set      {fresh["seconds_test_set"]:7.2f}"""


def failures(figures: dict[str, Any]) -> list[str]:
    """List what of the demonstration's claims does not hold."""
    network, fresh = figures["network"], figures["fresh_process"]
    found = [f"{network}: {name} is not equal" for name in fresh["unequal_tensors"]]
    if not fresh["coded_layers"]:
        found.append(f"{network}: no layer runs coded")
    if not fresh["max_logit_difference"] <= 1e-4 * fresh["max_logit"]:
        found.append(f"{network}: logits differ by {fresh['max_logit_difference']:.1e}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_digits", description=__doc__)
    parser.add_argument("--network", choices=RECIPES, help="only this network")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for the files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--evaluate", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.evaluate:
        print(json.dumps(evaluate(options.evaluate, options.network)))
        return 0

    options.out.mkdir(parents=True, exist_ok=True)
    networks = [options.network] if options.network else list(RECIPES)
    data = digits()
    results = []
    n_epochs = (
        RECIPES[name].epochs + PRUNING_STEPS * RECIPES[name].retraining_epochs for name in networks
    )
    n_steps = sum(n_epochs) + len(networks) * (3 + N_RIVALS)
    with tqdm(total=n_steps, disable=None, leave=False) as bar:
        for name in networks:
            results.append(demonstrate(name, data, options.out, options.seed, bar))
    if options.json:
        shown = [figures | {"report": figures["report"].to_dict()} for figures in results]
        print(json.dumps({"torch_threads": torch.get_num_threads(), "networks": shown}, indent=2))
    else:
        print("\n\n".join(describe(figures, len(data.test_labels)) for figures in results))
    found = [line for figures in results for line in failures(figures)]
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
