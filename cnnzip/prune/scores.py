"""What weights are worth: by magnitude, LAMP, Taylor, Wanda, chance, or the caller's function."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from cnnzip.errors import ArgumentError
from cnnzip.torch.model import deepcopy
from cnnzip.tuning.fit import (
    Loss,
    check_rerunnable,
    cross_entropy,
    device_of,
    loss_of,
    run,
    seeded,
    to_device,
)
from cnnzip.tuning.parametrizations import (
    Layers,
    Shared,
    bake,
    find,
    kept_of,
    raw_of,
    targets,
    weight_of,
)

Scores = dict[str, Tensor]
#: A name, or a function of a layer's name and module that gives a tensor like its weight.
Kind = str | Callable[[str, nn.Module], Tensor]

KINDS = ("magnitude", "lamp", "taylor", "wanda", "random")


def score(
    model: nn.Module,
    kind: Kind = "lamp",
    data: Iterable[Any] | None = None,
    *,
    loss: Loss = cross_entropy,
    layers: Layers = None,
    regrow: bool = False,
    seed: int = 0,
) -> Scores:
    """Score every weight of the convolutions and linear layers; the higher, the more to be kept.

    Pruned weights get -1, others at least 0, so that masks made of scores are nested.

    Parameters
    ----------
    kind : str or function
        "magnitude": |w|.
        "lamp": w² over the sum of the squares in the layer from |w| up, comparable between layers.
        "taylor": the sum over batches of (w dL/dw)², L in eval mode: to first order, what the loss
        changes by when w goes.
        "wanda": |w| times the norm of the inputs that w multiplies.
        "random": uniform, from `seed`, which also orders batches that are shuffled.
        A function of name and layer gives scores of its own, all at least 0.
    data : iterable
        Batches as `loss` takes them for "taylor", inputs (of tuples, the first) for "wanda".
    regrow : bool
        Whether pruned weights are scored as the others, by the values under their masks.

    Returns
    -------
    dict of layer name to float tensor of the weight's shape, on its device

    Raises
    ------
    ArgumentError

    Source: Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning" (ICLR 2021);
    Molchanov et al., "Importance estimation for neural network pruning" (2019); Sun et al., "A
    simple and effective pruning approach for large language models" (2023).
    """
    found = targets(model, layers)
    shared = [name for name, layer in found.items() if find(layer, Shared) is not None]
    if shared:
        raise ArgumentError(
            f"{shared[0]}: its weights are shared; prune before quantizing, or bake"
        )
    weights = {n: (raw_of if regrow else weight_of)(layer).detach() for n, layer in found.items()}
    if kind == "magnitude":
        scores = {name: weight.abs() for name, weight in weights.items()}
    elif kind == "lamp":
        scores = {name: _lamp(weight) for name, weight in weights.items()}
    elif kind == "random":
        generator = torch.Generator().manual_seed(seed)
        scores = {
            name: torch.rand(weight.shape, generator=generator).to(weight.device)
            for name, weight in weights.items()
        }
    elif kind == "taylor":
        with seeded(model, seed):
            scores = _taylor(model, weights, _needed(data, "taylor"), loss)
    elif kind == "wanda":
        with seeded(model, seed):
            norms = _input_norms(model, found, _needed(data, "wanda"))
        scores = {name: weight.abs() * norms[name] for name, weight in weights.items()}
    elif callable(kind):
        scores = {name: kind(name, layer).detach() for name, layer in found.items()}
    else:
        raise ArgumentError(f"score: {kind!r}; give a function, or {', '.join(KINDS)}")
    for name, layer in found.items():
        _check(name, scores[name], weights[name])
        if not regrow:
            scores[name] = scores[name].masked_fill(~kept_of(layer), -1.0)
    return scores


def _needed(data: Iterable[Any] | None, kind: str) -> Iterable[Any]:
    if data is None:
        raise ArgumentError(f"score: {kind!r} needs data; 'magnitude' and 'lamp' need none")
    check_rerunnable(data)
    return data


def _check(name: str, scores: Tensor, weight: Tensor) -> None:
    if scores.shape != weight.shape:
        raise ArgumentError(
            f"{name}: scores of shape {tuple(scores.shape)} for weights {tuple(weight.shape)}"
        )
    if not bool((scores >= 0).all()):
        what = "NaN" if bool(scores.isnan().any()) else "below 0"
        raise ArgumentError(f"{name}: scores that are {what}; they must be numbers from 0")


def _lamp(weight: Tensor) -> Tensor:
    """w² / Σ_{u: |u| ≥ |w|} u², the sum in float64 along the weights in falling order."""
    squares = weight.flatten().double().square()
    squares, order = squares.sort(descending=True, stable=True)
    falling = squares / squares.cumsum(0).clamp_min(torch.finfo(torch.float64).tiny)
    return torch.empty_like(falling).index_copy_(0, order, falling).reshape(weight.shape)


def _taylor(model: nn.Module, weights: Scores, data: Iterable[Any], loss: Loss) -> Scores:
    plain = bake(model).eval().requires_grad_(False)
    parameters = [plain.get_parameter(f"{n}.weight" if n else "weight") for n in weights]
    for parameter in parameters:
        parameter.requires_grad_(True)
    device = device_of(plain)
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    number = 0
    for number, batch in enumerate(data, start=1):
        where = f"batch {number} of data"
        value = loss_of(loss, plain, to_device(batch, device), where, "or in the weights")
        gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            if gradient is not None:
                sums[name] += (weight * gradient).square()
    if not number:
        raise ArgumentError("data: there are no batches; give one at least")
    return sums


def _input_norms(
    model: nn.Module, found: dict[str, nn.Module], data: Iterable[Any]
) -> dict[str, Tensor]:
    """Per weight, the norm of all inputs that it multiplies.

    A layer is linear in its weight, so the gradient of the sum of its outputs with respect to a
    weight is the sum of the inputs that this weight multiplies; with squared inputs, their norm².
    """
    plain = deepcopy(model).eval()
    sums = {name: torch.zeros_like(weight_of(layer)) for name, layer in found.items()}
    hooks = []

    def watch(name: str, layer: nn.Module) -> None:
        bare = bake(layer)
        held = {key: value.detach() for key, value in bare.named_parameters() if key != "weight"}
        weight = weight_of(bare)

        def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            with torch.enable_grad():
                free = weight.requires_grad_(True)
                total = functional_call(bare, {**held, "weight": free}, (inputs[0].square(),)).sum()
                (squares,) = torch.autograd.grad(total, [free])
            sums[name] += squares

        hooks.append(plain.get_submodule(name).register_forward_pre_hook(add))

    for name, layer in found.items():
        watch(name, layer)
    run(plain, data)
    return {name: norm.clamp_min(0).sqrt() for name, norm in sums.items()}
