"""Quantization that knows what each layer's inputs are, and what each weight costs in the file."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cnnzip.errors import ArgumentError
from cnnzip.progress import Progress
from cnnzip.quantize.absorb import equalize, followers
from cnnzip.quantize.columns import Problem, cholesky
from cnnzip.quantize.matrices import Matrices, Moments
from cnnzip.quantize.rates import Code, Entropy, Rate
from cnnzip.tuning.fit import check_inputs, device_of, first_line, run, seeded
from cnnzip.tuning.parametrizations import Layers, adopt, bake, share, targets, weight_of

RATES: dict[str, Callable[[], Rate]] = {"entropy": Entropy, "codec": Code}
MASKS = ("keep", None)
N_PROBED = 4  # inputs of a first run, which finds what is wrong and what follows what
#: Inputs of an output above which second moments are kept of so many at a time, as blocks. Of
#: 8,192 inputs and 4,096 patches, blocks lose less than the whole, which so few patches do not tell.
MOST_COLUMNS = 4_096
BLOCK_COLUMNS = 1_024
PLAIN_COLUMNS = 512  # where there are no second moments
MOST_LEVELS = 1 << 16  # BOK-1
EQUAL = 1e-6  # deviation of entries that are one value, relative to it
DEAD = 1e-12  # second moment of an input that is none, relative to the largest


def rate_distortion(
    model: nn.Module,
    inputs: Tensor | Iterable[Any] | None,
    lam: float = 1e-4,
    step: float = 1.6,
    *,
    grid: Mapping[str, Tensor] | None = None,
    mask: str | None = "keep",
    rate: str = "codec",
    parabola: bool = True,
    sparsity: float = 0.0,
    absorb: bool = True,
    repair: bool = True,
    damping: float = 0.01,
    layers: Layers = None,
    inplace: bool = False,
) -> nn.Module:
    """Quantize layers so that little of their outputs is lost for each bit that is saved.

    Needs inputs, but no labels and no training. Layers are quantized as the model runs on the
    inputs, each on what its quantized predecessors give, and batch normalizations are recalibrated
    on the way. Weights that cost more than they are worth become zero.

    One function is several methods. `lam=0` is GPTQ; without inputs, `lam=0` is rounding and
    `lam>0` RDOQ; `parabola=False` is RD-OBS; `sparsity` is SparseGPT's joint form; otherwise it is
    CERWU, with `rate="codec"` by this library's own code lengths. For what is published under these
    names, `absorb=False, repair=False`.

    Parameters
    ----------
    inputs : (n, ...), an iterable of such batches, or None
        Run through the model at once; 128 and more are enough. Of a batch that is a tuple or list,
        the first is taken.
    lam : float
        What a bit is worth of a row's squared output, relative to the mean row's.
    step : float
        Distance of levels, in standard deviations of a layer's entries.
    grid : mapping from layers' names to levels, such as of `codebooks`, optional
        Levels in place of multiples of the step; 0 is always one.
    mask : "keep" or None
        Whether weights that are 0 stay so.
    rate : "codec" or "entropy"
        What counts as bits: the code lengths of codec banded at each weight's place, of the layer
        as it was quantized in the sweep before, or the entropy of the layer's levels.
    parabola : bool
        Whether bits are also seen as a parabola, which draws weights to zero together.
    sparsity : float
        Share of zeros to reach in each 128 columns, whatever they cost; from 0, below 1.
    absorb : bool
        Whether what batch normalizations and biases make good is no error: an output's mean, and
        its scale.
    repair : bool
        Whether each layer also makes good what its predecessors lost: it is fitted to the outputs
        that it had before. (GPTAQ's asymmetric calibration.) Keeps all layers' inputs in memory.
    damping : float
        Added to the diagonal of second moments, relative to its mean.
    layers : names, or a function of name and layer; see `cnnzip.tuning.targets`
    inplace : bool
        Whether `model` becomes the quantized model, when all is done. Its modules are new then.

    Returns
    -------
    model : nn.Module
        Its weights share the levels of codebooks, which `fit` can train.

    Raises
    ------
    ArgumentError
        An argument, the inputs, or a layer cannot be used; `model` is unchanged.

    Source: Conzelmann, Bamler (2025), arXiv 2505.18758, for CERWU; Li et al., "GPTAQ" (2025) for
    `repair`.
    """
    _check(lam, step, mask, rate, sparsity, damping)
    names = targets(model, layers)
    _check_grid(grid, names)
    fresh = bake(model)
    chosen = {fresh.get_submodule(name): name for name in names}
    for layer, name in chosen.items():
        if not bool(torch.isfinite(weight_of(layer)).all()):
            raise ArgumentError(f"{name}.weight: it holds NaN or infinities, which have no levels")
    options = _Options(lam, step, grid or {}, mask, RATES[rate], parabola, sparsity, damping)
    work = _Work(fresh, chosen, options)
    with torch.no_grad(), seeded(fresh, 0):
        if inputs is None:
            for layer in Progress(
                chosen, "cnnzip: rate_distortion", unit="layer", disable=None, delay=1
            ):
                work.quantize(layer, None)
        else:
            work.run(_joined(inputs, fresh), absorb, repair)
    work.share()
    return adopt(model, fresh, inplace)


@dataclass(frozen=True)
class _Options:
    """What `rate_distortion` was asked for."""

    lam: float
    step: float
    grid: Mapping[str, Tensor]
    mask: str | None
    rate: Callable[[], Rate]
    parabola: bool
    sparsity: float
    damping: float


@dataclass(frozen=True)
class _Part:
    """A group of a layer, or a block of its columns.

    Attributes
    ----------
    moment : (n_columns, n_columns), damped; None: the identity
    mean, expected_mean : float64 (n_columns,)
        Of the inputs, and of those before, where they are centred, else 0.
    loss : float
        Of all weights' becoming 0, twice.
    """

    group: int
    columns: slice
    moment: Tensor | None
    mean: Tensor
    expected_mean: Tensor
    loss: float


class _Work:
    """A model on its way: layers that are quantized when they run."""

    def __init__(self, model: nn.Module, names: dict[nn.Module, str], options: _Options) -> None:
        self.model = model
        self.names = names
        self.options = options
        self.norms: dict[nn.Module, _BatchNorm] = {}
        self.absorb = False
        self.expected: dict[nn.Module, Tensor] = {}  # inputs of layers to come, as they were
        self.done: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # index and levels

    def run(self, inputs: Tensor, absorb: bool, repair: bool) -> None:
        """Quantize all layers in the order in which they run."""
        modes = {module: module.training for module in self.model.modules()}
        self.model.eval()
        run(self.model, [inputs[:N_PROBED]])
        self.absorb = absorb
        if absorb:
            probe = inputs[:N_PROBED]
            self.norms = followers(self.model, self.names, probe)
            if not self.options.grid:
                self.norms = equalize(self.model, self.norms, probe)
        norms = [
            module
            for module in self.model.modules()
            if isinstance(module, _BatchNorm) and module.running_mean is not None
        ]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train()
            norm.momentum = None
        if repair:
            self._hooked(inputs, lambda layer, own: self.expected.setdefault(layer, own))
        for norm in norms:
            norm.reset_running_stats()
        with Progress(
            total=len(self.names),
            desc="cnnzip: rate_distortion",
            unit="layer",
            disable=None,
            delay=1,
        ) as bar:

            def take(layer: nn.Module, own: Tensor) -> None:
                if layer not in self.done:
                    self.quantize(layer, own)
                    bar.update()

            self._hooked(inputs, take)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
        missed = [name for layer, name in self.names.items() if layer not in self.done]
        if missed:
            raise ArgumentError(
                f"{missed[0]}: the model does not call this layer on the inputs, so nothing is known of "
                "what it is for; choose the others by layers="
            )

    def _hooked(self, inputs: Tensor, take: Callable[[nn.Module, Tensor], object]) -> None:
        """Run the model; `take` is given each layer and its inputs before the layer is run."""

        def before(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            take(layer, arguments[0])

        hooks = [layer.register_forward_pre_hook(before) for layer in self.names]
        try:
            self.model(inputs)
        finally:
            for hook in hooks:
                hook.remove()

    def quantize(self, layer: nn.Module, inputs: Tensor | None) -> None:
        """Quantize a layer in place, as it sees these inputs."""
        options, name = self.options, self.names[layer]
        matrices = Matrices.of(layer)
        matrix = matrices.to_matrix(weight_of(layer)).double()
        levels, unit = self._levels(name, matrix)
        steps, weights = levels.double() / unit, matrix / unit
        zero = int((levels == 0).nonzero())
        kept = matrix != 0 if options.mask == "keep" else None
        bias = layer.bias if isinstance(layer.bias, Tensor) else None
        is_centred = self.absorb and (layer in self.norms or bias is not None)
        expected = self.expected.pop(layer, None)
        if inputs is not None:
            same = expected is None or torch.equal(inputs, expected)
            inputs, expected = inputs.float(), None if same else cast(Tensor, expected).float()
        parts = self._parts(matrices, weights, (inputs, expected), is_centred, name)
        price = options.lam * sum(part.loss for part in parts) / matrix[..., 0].numel()
        variance = float(weights.var(unbiased=False))
        curvature = 1 / (math.log(2) * variance) if options.parabola and variance else 0.0
        problems = [
            Problem.of(weights[p.group, :, p.columns], p.moment, curvature if price else 0.0, price)
            for p in parts
        ]
        index, rate = _nearest(steps, weights), options.rate()
        is_rounding = inputs is None and not options.sparsity  # which is done, if bits are free
        for sweep in range(rate.n_sweeps if price else int(not is_rounding)):
            prices = rate.prices(matrices.to_weight(index), levels, sweep)
            prices = prices.map(matrices.to_matrix)
            for part, problem in zip(parts, problems, strict=True):
                at = part.group, slice(None), part.columns
                mine = None if kept is None else kept[at]
                of_part = prices.map(lambda found, at=at: found[at])  # type: ignore[misc]
                index[at] = problem.solve(steps, of_part, price, mine, options.sparsity, zero)
        if bias is not None and is_centred and layer not in self.norms:
            lost = torch.zeros_like(matrix[..., 0])
            for part in parts:
                at = part.group, slice(None), part.columns
                lost[part.group] += matrix[at] @ part.expected_mean
                lost[part.group] -= levels[index[at]].double() @ part.mean
            bias.add_(lost.flatten().to(bias.dtype))
        index = matrices.to_weight(index)
        weight_of(layer).copy_(levels[index])
        self.done[layer] = index, levels

    def _parts(
        self,
        matrices: Matrices,
        weights: Tensor,
        inputs: tuple[Tensor | None, Tensor | None],
        is_centred: bool,
        name: str,
    ) -> list["_Part"]:
        """Cut a layer into groups, and these into blocks of channels where there are many.

        `weights` become those that repair what the inputs have lost.
        """
        found, expected = inputs
        area = math.prod(matrices.kernel)
        most = PLAIN_COLUMNS if found is None else BLOCK_COLUMNS
        few = 0 if found is None else MOST_COLUMNS
        n_channels = max(1, most // area) if matrices.n_columns > few else matrices.n_inputs
        parts = []
        for group in range(matrices.n_groups):
            for first in range(0, matrices.n_inputs, n_channels):
                channels = slice(first, min(first + n_channels, matrices.n_inputs))
                columns = slice(channels.start * area, channels.stop * area)
                w = weights[group, :, columns]
                if found is None:
                    parts.append(_Part(group, columns, None, w[0], w[0], float((w * w).sum())))
                    continue
                moments = Moments.of(matrices, found, expected, group, channels, is_centred)
                moment, diagonal = moments.second, moments.second.diagonal()
                if not bool(torch.isfinite(diagonal).all()):
                    raise ArgumentError(f"{name}: its inputs hold NaN or infinities, or overflow")
                dead = diagonal <= DEAD * diagonal.max()
                w[:, dead] = 0  # whatever they are, outputs are the same
                diagonal[dead] = 1
                loss = float(((w.to(moment.dtype) @ moment) * w).sum())
                diagonal += self.options.damping * diagonal.mean()
                if moments.drift is not None:
                    owed = (w.to(moment.dtype) @ moments.drift).T
                    w += torch.cholesky_solve(owed, cholesky(moment)).T
                means = moments.mean, moments.expected_mean
                parts.append(_Part(group, columns, moment, *means, loss))
        return parts

    def share(self) -> None:
        """Let each layer's weights share its levels."""
        for layer, (index, levels) in self.done.items():
            zero = int((levels == 0).nonzero())
            used = torch.bincount(index.flatten(), minlength=levels.numel()) > 0
            used[zero] = False
            number = torch.where(used, used.cumsum(0), 0)
            dtype = torch.uint8 if int(used.sum()) < 256 else torch.int32
            share(layer, number[index].to(dtype), nn.Parameter(levels[used]))
            layer.train(layer.training)  # the parametrization, too

    def _levels(self, name: str, matrix: Tensor) -> tuple[Tensor, float]:
        """The levels as they are stored, increasing, and the step that they are seen in."""
        entries = matrix[matrix != 0]
        largest = float(entries.abs().max()) if entries.numel() else 1.0
        deviation = float(entries.std(unbiased=False)) if entries.numel() else 0.0
        is_spread = deviation > EQUAL * largest
        dtype = weight_of(self._layer(name)).dtype
        if name in self.options.grid:
            grid = self.options.grid[name].detach().to(matrix.device, dtype)
            levels = torch.unique(torch.cat([grid.flatten(), grid.new_zeros(1)]))
            return levels, deviation if is_spread else largest
        unit = deviation * self.options.step if is_spread else largest
        most = 1 + round(largest / unit)
        if 2 * most + 1 > MOST_LEVELS:
            raise ArgumentError(
                f"step: {self.options.step} makes {2 * most + 1:,} levels of {name}.weight, and a codebook "
                f"holds {MOST_LEVELS:,}; give a larger one"
            )
        multiples = torch.arange(-most, most + 1, dtype=torch.float64, device=matrix.device)
        return (multiples * unit).to(dtype) + 0.0, unit

    def _layer(self, name: str) -> nn.Module:
        return self.model.get_submodule(name)


def _nearest(levels: Tensor, weights: Tensor) -> Tensor:
    return torch.bucketize(weights, (levels[:-1] + levels[1:]) / 2)


def _joined(inputs: Tensor | Iterable[Any], model: nn.Module) -> Tensor:
    """All inputs as one batch, on the model's device."""
    if isinstance(inputs, Tensor):
        whole = inputs
    else:
        check_inputs(inputs)
        firsts = [b[0] if isinstance(b, tuple | list) else b for b in inputs]
        if not firsts or not all(isinstance(first, Tensor) for first in firsts):
            raise ArgumentError("inputs: give a tensor, or batches that are or begin with one")
        try:
            whole = torch.cat(firsts)
        except (RuntimeError, TypeError) as error:
            raise ArgumentError(f"inputs: no one batch of them: {first_line(error)}") from error
    if not whole.ndim or len(whole) < 2:
        raise ArgumentError(
            f"inputs: a tensor of shape {tuple(whole.shape)}; give at least two inputs, 128 for good"
        )
    return whole.to(device_of(model))


def _check(
    lam: float, step: float, mask: str | None, rate: str, sparsity: float, damping: float
) -> None:
    if not 0 <= lam < math.inf:
        raise ArgumentError(f"lam: {lam}; give 0 to round for the least error, or 1e-4 and more")
    if not 0 < step < math.inf:
        raise ArgumentError(f"step: {step}; give standard deviations above 0, such as 1.6")
    if mask not in MASKS:
        raise ArgumentError(f"mask: {mask!r}; there are 'keep' and None")
    if rate not in RATES:
        raise ArgumentError(f"rate: {rate!r}; there are {', '.join(map(repr, RATES))}")
    if not 0 <= sparsity < 1:
        raise ArgumentError(f"sparsity: {sparsity}; give a share from 0, below 1")
    if not 0 < damping < math.inf:
        raise ArgumentError(f"damping: {damping}; give a share above 0, such as 0.01")


def _check_grid(grid: Mapping[str, Tensor] | None, names: Mapping[str, nn.Module]) -> None:
    for name in grid or {}:
        if name not in names:
            raise ArgumentError(
                f"grid: {name!r} is no layer to quantize; there are {', '.join(names)}"
            )
