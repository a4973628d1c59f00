"""The one training loop, and batch normalization's statistics anew."""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from cnnzip.errors import ArgumentError
from cnnzip.progress import Progress
from cnnzip.tuning.parametrizations import adopt, copied

Loss = Callable[[nn.Module, Any], Tensor]
Penalty = Callable[[nn.Module], Tensor]
AfterStep = Callable[[nn.Module], object]
#: Called as `optimizer(model.named_parameters(), lr=lr)`, as torch's are.
MakeOptimizer = Callable[..., Optimizer]
Schedule = str | Callable[[float], float]

#: From the share of the training that is done to a factor of the learning rate.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "linear": lambda done: 1 - done,
}


class Batches:
    """Tensors cut into batches, in a new order each time they are run through.

    The order is that of torch's random state, which `fit` seeds.

    Parameters
    ----------
    tensors : (n, ...) each
        A batch is a tuple of as many, or a tensor where there is one.
    size : int
    shuffle : bool
    """

    def __init__(self, *tensors: Tensor, size: int = 64, shuffle: bool = True) -> None:
        lengths = {len(tensor) for tensor in tensors}
        if len(lengths) != 1 or size < 1:
            found = ", ".join(map(str, sorted(lengths))) or "none"
            raise ArgumentError(
                f"batches of {size} from tensors of lengths {found}: give size >= 1 and one length"
            )
        self.tensors = tensors
        self.size = size
        self.shuffle = shuffle

    def __len__(self) -> int:
        return math.ceil(len(self.tensors[0]) / self.size)

    def __iter__(self) -> Iterator[Tensor | tuple[Tensor, ...]]:
        n = len(self.tensors[0])
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        for chosen in torch.split(order, self.size):
            batch = tuple(tensor[chosen.to(tensor.device)] for tensor in self.tensors)
            yield batch if len(batch) > 1 else batch[0]


def cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    """The loss of a classifier on a pair of inputs and labels."""
    if not (isinstance(batch, Sequence) and len(batch) == 2):
        raise ArgumentError(
            f"a batch is a {type(batch).__name__}, no pair (inputs, labels): give loss=, a function "
            "of model and batch"
        )
    inputs, labels = batch
    return functional.cross_entropy(model(inputs), labels)


def fit(
    model: nn.Module,
    batches: Iterable[Any],
    epochs: int,
    *,
    loss: Loss = cross_entropy,
    lr: float = 1e-3,
    optimizer: MakeOptimizer = torch.optim.Adam,
    penalty: Penalty | None = None,
    after_step: AfterStep | None = None,
    schedule: Schedule = "cosine",
    seed: int = 0,
    inplace: bool = False,
) -> nn.Module:
    """Train a model; pruned weights stay pruned, shared ones shared.

    Parameters
    ----------
    batches : iterable that can be run through once an epoch
        `Batches`, a DataLoader, a list. Tensors in a batch are moved to the parameters' device.
    loss : function of model and batch
        Gives a scalar; it alone knows what a batch is, and whether there are labels.
    optimizer : function of named parameters and lr
        Such as a class of `torch.optim`.
    penalty : function of the model, optional
        Gives a scalar to be added to the loss.
    after_step : function of the model, optional
        Called after each step of the optimizer.
    schedule : "cosine", "linear", "constant", or a function
        From the share of the training that is done to a factor of `lr`.
    seed : int
        Of what batches, dropout and the like draw; the global random state is left as it was.
    inplace : bool
        Whether `model` becomes the trained model, when all is done. Its modules are new then.

    Raises
    ------
    ArgumentError
        The loss is no finite scalar, or an argument cannot be used; `model` is unchanged.
    """
    trained = copied(model)
    with seeded(trained, seed):
        train(
            trained,
            batches,
            epochs,
            loss=loss,
            lr=lr,
            optimizer=optimizer,
            penalty=penalty,
            after_step=after_step,
            schedule=schedule,
        )
    return adopt(model, trained, inplace)


def train(
    model: nn.Module,
    batches: Iterable[Any],
    epochs: int,
    *,
    loss: Loss = cross_entropy,
    lr: float = 1e-3,
    optimizer: MakeOptimizer = torch.optim.Adam,
    penalty: Penalty | None = None,
    after_step: AfterStep | None = None,
    schedule: Schedule = "constant",
    done: Callable[[], object] | None = None,
) -> None:
    """Train a model in place, from the random state that there is; for the methods here.

    Parameters
    ----------
    done : called after each epoch; without it, `train` shows a bar of its own
    """
    factor = _factor(schedule)
    check_rerunnable(batches)
    parameters = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    if not parameters:
        raise ArgumentError(f"{type(model).__name__}: no parameter requires a gradient")
    device = parameters[0][1].device
    steps = optimizer(iter(parameters), lr=lr)
    rates = [group["lr"] for group in steps.param_groups]
    per_epoch = operator.length_hint(batches, 0)
    modes = {module: module.training for module in model.modules()}
    model.train()
    hidden = None if done is None else True  # None: where stderr is no terminal
    for epoch in Progress(range(epochs), "cnnzip: fit", unit="epoch", disable=hidden, delay=1):
        number = 0
        for number, batch in enumerate(batches, start=1):
            past = min((number - 1) / per_epoch, 1) if per_epoch else 0
            for group, rate in zip(steps.param_groups, rates, strict=True):
                group["lr"] = rate * factor((epoch + past) / epochs)
            where = f"epoch {epoch + 1}, batch {number}"
            value = loss_of(loss, model, to_device(batch, device), where, f"or lower lr ({lr})")
            if penalty is not None:
                extra = penalty(model)
                _check_number("penalty", extra, where, f"or lower lr ({lr})")
                value = value + extra
            steps.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            steps.step()
            if after_step is not None:
                after_step(model)
        if not number:
            raise ArgumentError("batches: there are none; give at least one an epoch")
        if done is not None:
            done()
    for module, mode in modes.items():
        module.training = mode


def _factor(schedule: Schedule) -> Callable[[float], float]:
    if callable(schedule):
        return schedule
    if schedule not in SCHEDULES:
        raise ArgumentError(f"schedule: {schedule!r}; give a function, or {', '.join(SCHEDULES)}")
    return SCHEDULES[schedule]


def check_rerunnable(batches: Iterable[Any]) -> None:
    """Refuse an iterator, which the first epoch would use up, and what holds no batches."""
    if not _has_items(batches):
        raise ArgumentError(
            f"batches: a {type(batches).__name__}; give a list, cnnzip.tuning.Batches or a DataLoader"
        )
    if isinstance(batches, Iterator):
        raise ArgumentError(
            f"batches: a {type(batches).__name__} can be run through once only; give a list, "
            "cnnzip.tuning.Batches or a DataLoader"
        )


def loss_of(loss: Loss, model: nn.Module, batch: Any, where: str, hint: str) -> Tensor:
    """What a loss gives, which is to be one finite number with a gradient.

    Parameters
    ----------
    where, hint : str
        For a message: which batch it is, and what else may help against NaN.

    Raises
    ------
    ArgumentError
    """
    try:
        value = loss(model, batch)
    except ArgumentError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ArgumentError(f"loss: it fails at {where}: {first_line(error)}") from error
    _check_number("loss", value, where, hint)
    if not value.requires_grad:
        raise ArgumentError(f"loss: no gradient at {where}; it must depend on the parameters")
    return value


def _check_number(what: str, value: Any, where: str, hint: str) -> None:
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
        raise ArgumentError(
            f"{what}: a {type(value).__name__}{shape} at {where}; it must be one number, in a tensor"
        )
    if not math.isfinite(value.item()):
        raise ArgumentError(
            f"{what}: {value.item()} at {where}; look for such values in the batch, {hint}. The "
            "model is unchanged"
        )


def first_line(error: Exception) -> str:
    """What an exception says, without what follows."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def recalibrate_bn(
    model: nn.Module,
    inputs: Tensor | Iterable[Any],
    inplace: bool = False,
    *,
    loss: Loss | None = None,
) -> nn.Module:
    """Measure the running statistics of batch normalization anew. Needs no labels.

    Pruned and quantized layers give other means and variances than those that were learned.

    Parameters
    ----------
    inputs : (n, ...), or an iterable of such batches
        A tensor is run through in batches of at most 256. Of a batch that is a tuple or list, the
        first is taken.
    loss : function of model and batch, optional
        Runs the model on a batch instead; what it gives is not looked at.

    Raises
    ------
    ArgumentError
        There are no inputs, or the model cannot be run on them; it is unchanged.
    """
    fresh = copied(model)
    norms = [
        module
        for module in fresh.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]
    if not norms:
        return adopt(model, fresh, inplace)
    modes = {module: module.training for module in fresh.modules()}
    momenta = [norm.momentum for norm in norms]
    fresh.eval()
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    with seeded(fresh, 0):
        run(fresh, inputs, loss)
    for norm in norms:
        assert norm.running_mean is not None
        if not bool(norm.running_mean.isfinite().all()):
            raise ArgumentError("inputs: of these, batch normalization takes NaN or infinities")
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, mode in modes.items():
        module.training = mode
    return adopt(model, fresh, inplace)


@torch.no_grad()
def run(model: nn.Module, inputs: Tensor | Iterable[Any], loss: Loss | None = None) -> None:
    """Run a model on calibration inputs, or through a loss, for what its modules keep of them.

    Raises
    ------
    ArgumentError
        There are no inputs, or the model cannot be run on them.
    """
    check_inputs(inputs)
    batches = torch.split(inputs, 256) if isinstance(inputs, Tensor) else inputs
    device = device_of(model)
    batch = None
    for batch in batches:
        first = batch[0] if isinstance(batch, tuple | list) else batch
        try:
            if loss is None:
                model(to_device(first, device))
            else:
                loss(model, to_device(batch, device))
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            what = f"of shape {tuple(first.shape)}" if isinstance(first, Tensor) else "given"
            raise ArgumentError(
                f"inputs: the model cannot be run on those {what}: {first_line(error)}"
            ) from error
    if batch is None or (isinstance(inputs, Tensor) and not len(inputs)):
        raise ArgumentError("inputs: there are none; give a batch at least")


def check_inputs(inputs: Any) -> None:
    """Refuse what is neither a tensor of inputs nor batches of them."""
    if isinstance(inputs, str) or not _has_items(inputs):
        raise ArgumentError(
            f"inputs: a {type(inputs).__name__}; give a tensor (n, ...), or batches of such"
        )


def _has_items(batches: Any) -> bool:
    """Whether it can be run through; without doing so, as that may start processes."""
    if isinstance(batches, Tensor):
        return batches.ndim > 0
    return hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")


def device_of(model: nn.Module) -> torch.device:
    """The device of the first parameter or buffer."""
    tensors = [*model.parameters(), *model.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch with its tensors, and those in tuples, lists and dicts, on a device."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


@contextmanager
def seeded(model: nn.Module, seed: int) -> Iterator[None]:
    """Seed torch's random state, of the CPU and of the model's devices, and put it back after."""
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
