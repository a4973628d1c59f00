"""Weight sharing: a layer's entries take the values of a codebook that training can move."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnzip.errors import ArgumentError
from cnnzip.progress import Progress
from cnnzip.quantize import scalar
from cnnzip.tuning.parametrizations import Layers, adopt, bake, targets, weight_of
from cnnzip.tuning.parametrizations import share as share_layer

MOST_LEVELS = 1 << 16  # BOK-1
#: By scope, what layers that share a codebook have in common.
SCOPES: dict[str, Callable[[str, nn.Module], object]] = {
    "layer": lambda name, layer: name,
    "kind": lambda name, layer: isinstance(layer, nn.Linear),
    "model": lambda name, layer: None,
}


def share(
    model: nn.Module,
    k: int | Mapping[str, int],
    method: str = "cws",
    scope: str = "layer",
    *,
    lam: float | None = None,
    layers: Layers = None,
    seed: int = 0,
    inplace: bool = False,
) -> nn.Module:
    """Let the entries of layers share at most k values; zeros stay zeros and count for none.

    `fit` then moves the values: the gradient of each is the sum over the weights that share it.
    `bake`, and so `save`, makes plain weights of them.

    Parameters
    ----------
    k : int, or a mapping from layers' names, with scope "layer"
        Levels that are not 0; from 1 to 65,535.
    method : "cws", "pws", "uq" or "ecsq"
        Exact k-means; quantiles, drawn at random; multiples of a step; by entropy. See `scalar`.
    scope : "layer", "kind" or "model"
        A codebook for each layer; for all convolutions and for all linear layers; for all.
    lam : float, optional
        For "ecsq": what a bit is worth of the squared error, relative to the variance; it takes
        fewer levels where that pays. None: the least that leaves k levels of three times as many.
    layers : names, or a function of name and layer; see `cnnzip.tuning.targets`
    seed : int
        For "pws".
    inplace : bool
        Whether `model` becomes the result, when all is done. Its modules are new then.

    Raises
    ------
    ArgumentError
        An argument or a layer cannot be used; `model` is unchanged.
    """
    names = targets(model, layers)
    groups, levels = _groups(names, k, scope)
    quantize = _quantizer(method, lam)
    fresh = bake(model)
    generator = torch.Generator().manual_seed(seed)
    hidden = True if sum(weight_of(layer).numel() for layer in names.values()) < 1 << 20 else None
    for key, members in Progress(
        groups.items(), f"cnnzip: {method}", unit="codebook", disable=hidden, delay=1
    ):
        weights = [weight_of(fresh.get_submodule(name)) for name in members]
        found = [_entries(name, w) for name, w in zip(members, weights, strict=True)]
        entries = np.concatenate(found)
        if not entries.size:
            continue
        values, index = quantize(entries, levels[key], generator)
        codebook = nn.Parameter(torch.from_numpy(values).to(weights[0]))
        parts = np.split(index, np.cumsum([each.size for each in found])[:-1])
        for name, weight, part in zip(members, weights, parts, strict=True):
            numbers = torch.zeros(weight.shape, dtype=torch.int32)
            numbers[(weight != 0).cpu()] = torch.from_numpy(part).int()
            numbers = numbers.to(torch.uint8) if values.size < 256 else numbers
            layer = fresh.get_submodule(name)
            share_layer(layer, numbers, codebook)
            layer.train(layer.training)  # the parametrization, too
    return adopt(model, fresh, inplace)


def codebooks(
    model: nn.Module,
    k: int | Mapping[str, int],
    method: str = "cws",
    scope: str = "layer",
    **options: Any,
) -> dict[str, Tensor]:
    """The values that `share` would give each layer, such as a grid for `rate_distortion`.

    Parameters
    ----------
    model, k, method, scope, options : as of `share`

    Returns
    -------
    codebooks : dict from layers' names to tensors (at most k,), without 0
    """
    shared = share(model, k, method, scope, **options)
    found = {}
    for name in targets(model, options.get("layers")):
        values = torch.unique(weight_of(shared.get_submodule(name)))
        found[name] = values[values != 0]
    return found


def _groups(
    names: Mapping[str, nn.Module], k: int | Mapping[str, int], scope: str
) -> tuple[dict[object, list[str]], dict[object, int]]:
    """The layers of each codebook, and its levels."""
    if scope not in SCOPES:
        raise ArgumentError(f"scope: {scope!r}; there are {', '.join(map(repr, SCOPES))}")
    groups: dict[object, list[str]] = {}
    for name, layer in names.items():
        groups.setdefault(SCOPES[scope](name, layer), []).append(name)
    if isinstance(k, Mapping):
        if scope != "layer" or set(k) != set(names):
            raise ArgumentError(
                f"k: levels for {', '.join(k) or 'none'}; with scope 'layer' give one number, or one "
                f"for each of {', '.join(names)}"
            )
        levels: dict[object, int] = {name: k[name] for name in names}
    else:
        levels = dict.fromkeys(groups, k)
    for number in levels.values():
        if not 1 <= number < MOST_LEVELS:
            raise ArgumentError(f"k: {number}; give from 1 to {MOST_LEVELS - 1:,} levels")
    return groups, levels


def _quantizer(method: str, lam: float | None) -> scalar.Quantizer:
    if method not in scalar.QUANTIZERS:
        known = ", ".join(map(repr, scalar.QUANTIZERS))
        raise ArgumentError(f"method: {method!r}; there are {known}")
    if lam is None:
        return scalar.QUANTIZERS[method]
    if method != "ecsq":
        raise ArgumentError(f"lam: {lam} with method {method!r}; only 'ecsq' weighs entropy")
    if not 0 <= lam < float("inf"):
        raise ArgumentError(f"lam: {lam}; give 0 or more, such as 0.01")
    return lambda entries, k, _: scalar.ecsq_of(entries, k, lam)


def _entries(name: str, weight: Tensor) -> scalar.Values:
    """The weights that are not 0."""
    plain = weight[weight != 0].double().cpu().numpy()
    if not np.isfinite(plain).all():
        raise ArgumentError(f"{name}.weight: it holds NaN or infinities, which have no levels")
    return plain
