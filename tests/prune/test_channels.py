"""Channels: exact removal of dead ones, pruning of poor ones."""

import copy
import random

import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmarks.networks import resnet_digits
from cnnzip.errors import ArgumentError
from cnnzip.prune import compact, one_shot, prune_channels
from cnnzip.prune.channels import ChannelGraph
from cnnzip.prune.surgery import redundancy_scores
from cnnzip.tuning import bake, recalibrate_bn, targets
from tests.prune.small import accuracy, digits, trained, vgg
from tests.torch.nets import near, same_state


class Everything(nn.Module):
    """A sum, a concatenation, a depthwise and a transposed convolution, `flatten`, `view`, means."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.a = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm_a = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.grouped = nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.down = nn.Conv2d(14, 10, 3, stride=2, padding=1)
        self.head = nn.Linear(10 * 4 * 4, 12)
        self.mean_head = nn.Linear(10, 12)
        self.out = nn.Linear(12, 5)

    def forward(self, x):
        x = functional.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.norm_a(self.a(x)))
        side = functional.max_pool2d(functional.gelu(self.up(self.depthwise(x))), 2)
        x = self.down(torch.cat([x, side + torch.tanh(self.grouped(side))], dim=1)).relu()
        tall = self.head(functional.dropout(x, 0.5, self.training).view(x.size(0), -1))
        return self.out(functional.silu(tall + self.mean_head(x.mean((2, 3)))))


class Recurrent(nn.Module):
    """What is not understood, and must be left whole: an LSTM, attention, a softmax over channels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 3, padding=1)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.scale = nn.Linear(8, 8)
        self.out = nn.Linear(8, 4)

    def forward(self, x):
        x, _ = self.lstm(functional.softmax(self.conv(x), dim=1).transpose(1, 2))
        return self.out(x[:, -1] * torch.sigmoid(self.scale(x.mean(1))))


class Fixed(nn.Module):
    """The number of features is written into the code."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.out = nn.Linear(512, 4)

    def forward(self, x):
        return self.out(self.conv(x).view(-1, 512))


class Twice(nn.Module):
    """Layers that are used in a second way, which is not understood."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.middle = nn.Linear(8, 8)
        self.out, self.last = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.conv(x)) + torch.sigmoid(self.conv.bias).view(1, -1, 1, 1)
        short = self.middle(x.mean((2, 3)))
        return self.out(short) + self.last(self.middle(x.flatten(2).transpose(1, 2)).mean(1))


def built(kind, seed=0):
    """In eval mode, with the statistics of batch norm set as training might."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias)
    return model.eval()


def silence(layer, channel):
    """A filter and its shift made zero."""
    with torch.no_grad():
        weight = (
            layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
        )
        weight[channel] = 0
        if layer.bias is not None:
            layer.bias[channel] = 0


def n_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
SOUNDS = torch.rand(2, 3, 9, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [Everything, resnet_digits])
@pytest.mark.parametrize("sparsity", [0.5, 0.97, 0.999])
def test_compacting_changes_no_output(kind, sparsity):
    model = one_shot(built(kind), sparsity, score="random")
    small = compact(model, IMAGES[:1])
    assert near(small(IMAGES), model(IMAGES))
    if sparsity > 0.99:
        assert n_parameters(small) < 0.95 * n_parameters(model)
    entries = [
        sum(int((m.weight != 0).sum()) for m in targets(net).values()) for net in (small, model)
    ]
    assert entries[0] <= entries[1]


def test_a_planted_dead_channel_is_removed_exactly():
    model = built(Everything)
    for layer in (model.stem, model.depthwise, model.up, model.down, model.head, model.a):
        silence(layer, 3)
    with torch.no_grad():  # the sum's other side is silent too, whatever the statistics were
        for norm in (model.norm, model.norm_a):
            norm.running_mean[3] = norm.bias[3] = 0
        model.mean_head.weight[3] = model.mean_head.bias[3] = 0
    small = compact(model, IMAGES[:1])
    assert small.stem.out_channels == small.a.in_channels == small.a.out_channels == 7
    assert small.depthwise.groups == small.norm.num_features == 7
    assert (small.up.in_channels, small.down.out_channels) == (7, 9)
    assert small.head.in_features == 9 * 16
    assert small.head.out_features == small.mean_head.out_features == small.out.in_features == 11
    assert small.up.out_channels == 6  # a grouped convolution reads them
    assert (small(IMAGES) - model(IMAGES)).abs().max() <= 1e-6


def test_a_channel_that_nobody_reads_is_removed():
    model = built(vgg)
    with torch.no_grad():
        model[3].weight[:, 5] = 0
        model[19].weight[:, 7] = 0
    small = compact(model, IMAGES[:1])
    assert (small[0].out_channels, small[1].num_features, small[3].in_channels) == (15, 15, 15)
    assert small[19].in_features == small[14].out_channels == 31
    assert near(small(IMAGES), model(IMAGES))


def test_a_channel_below_zero_before_a_relu_is_removed_and_a_constant_one_stays():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1)).eval()
    with torch.no_grad():
        model[0].weight[:2] = 0
        model[0].bias[0], model[0].bias[1] = -1, 1
    small = compact(model, IMAGES[:1])
    assert small[0].out_channels == 2
    assert near(small(IMAGES), model(IMAGES))


def test_a_layer_without_any_live_channel_keeps_one():
    model = built(vgg)
    with torch.no_grad():
        model[7].weight.zero_()
        model[8].running_mean.zero_()
        model[8].bias.zero_()
    small = compact(model, IMAGES[:1])
    assert small[7].out_channels == small[11].in_channels == 1
    assert near(small(IMAGES), model(IMAGES))


@pytest.mark.parametrize(("kind", "x"), [(Recurrent, SOUNDS), (Fixed, IMAGES), (Twice, IMAGES)])
def test_what_is_not_understood_is_left_whole(kind, x):
    model = built(kind)
    silence(model.conv, 2)
    small = compact(model, x)
    assert same_state(small, model)
    assert torch.equal(small(x), model(x))
    assert same_state(prune_channels(model, x, 0.5), model)


def test_compacting_leaves_the_model_and_its_mode():
    model = built(Everything).train()
    silence(model.down, 1)
    before = copy.deepcopy(model)
    compact(model, IMAGES[:1])
    assert same_state(model, before)
    assert all(module.training for module in model.modules())
    assert compact(model, IMAGES[:1], inplace=True) is model
    assert model.down.out_channels == 9
    assert model.training


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


class Optional(nn.Module):
    """Whether it gives its features depends on an argument that has a default."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x, only_features=False, scale=None):
        x = self.body(x)
        if only_features:
            return x
        return self.head(x) if scale is None else self.head(x) * scale


class Padded(nn.Module):
    def __init__(self, **pad):
        super().__init__()
        self.body, self.head, self.pad = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3), pad

    def forward(self, x):
        return self.head(functional.pad(torch.relu(self.body(x)), **self.pad))


@pytest.mark.parametrize(
    ("pad", "width"),
    [
        ({"pad": (1, 1, 2, 0)}, 3),
        ({"pad": (1, 1, 1, 1), "mode": "reflect"}, 3),
        ({"pad": (1, 1), "value": 0.5}, 4),  # of a silent channel, the edge would not be 0
    ],
)
def test_channels_are_followed_through_padding_by_zeros_or_copies(pad, width):
    model = built(lambda: Padded(**pad))
    silence(model.body, 1)
    small = compact(model, IMAGES[:1])
    assert small.body.out_channels == width
    assert near(small(IMAGES), model(IMAGES))


def test_arguments_beyond_the_example_have_their_defaults():
    model = built(Optional)
    silence(model.body, 1)
    small = compact(model, IMAGES[:1])
    assert small.body.out_channels == 3
    assert near(small(IMAGES), model(IMAGES))


def test_what_cannot_be_traced_or_run_is_refused_in_a_sentence():
    with pytest.raises(
        ArgumentError, match=r"Branching: torch.fx cannot trace it .* channels can be"
    ):
        compact(Branching(), IMAGES)
    with pytest.raises(ArgumentError, match="example: the model cannot be run on it: "):
        compact(built(vgg), SOUNDS)
    with pytest.raises(ArgumentError, match="ratio: 15; it is a fraction"):
        prune_channels(built(vgg), IMAGES, 15)


@pytest.mark.parametrize("kind", [Everything, resnet_digits, vgg])
@pytest.mark.parametrize("ratio", [0.3, 1.0])
def test_pruned_channels_go_with_all_that_hangs_on_them(kind, ratio):
    model = built(kind)
    small = prune_channels(model, IMAGES[:1], ratio, importance="lamp")
    assert small(IMAGES).shape == model(IMAGES).shape
    assert n_parameters(small) < (0.8 if ratio < 1 else 0.2) * n_parameters(model)
    small.train()(IMAGES).sum().backward()
    assert all(p.grad is not None for p in small.parameters())


def test_the_least_important_channels_go():
    model = built(vgg)
    with torch.no_grad():
        for layer, channels in ((model[0], [2, 9]), (model[11], [0])):
            layer.weight[channels] *= 1e-3
    small = prune_channels(model, IMAGES[:1], 3 / (2 * 16 + 3 * 32))
    assert torch.equal(small[0].weight, model[0].weight[[c for c in range(16) if c not in (2, 9)]])
    assert small[11].out_channels == small[14].in_channels == 31
    kept = prune_channels(model, IMAGES[:1], 0.5, keep=["0"])
    assert kept[0].out_channels == 16


def test_a_planted_duplicate_filter_is_chosen_first_by_redundancy():
    model = built(vgg)
    with torch.no_grad():
        model[7].weight[6] = -1.5 * model[7].weight[20]
    assert set(redundancy_scores(model[7]).argsort()[:2].tolist()) == {6, 20}
    small = prune_channels(model, IMAGES[:1], 2 / (2 * 16 + 3 * 32), importance="redundancy")
    assert small[7].out_channels == 30
    others = [c for c in range(32) if c not in (6, 20)]
    assert torch.equal(small[7].weight, model[7].weight[others])


def test_pruned_channels_of_a_trained_network_are_the_poor_ones():
    model = trained(vgg)
    images, labels = digits()[:2]
    found = {}
    for kind in ("taylor", "random"):
        small = prune_channels(model, images[:1], 0.25, importance=kind, data=[(images, labels)])
        found[kind] = accuracy(recalibrate_bn(small, images))
    assert found["taylor"] > found["random"] + 5
    assert bake(small) is not small


@pytest.mark.parametrize("kind", [Everything, resnet_digits, vgg])
def test_what_hangs_together_is_what_torch_pruning_finds(kind):
    """An independent program; needs `pip install torch-pruning`."""
    other = pytest.importorskip("torch_pruning")
    model = built(kind)
    graph = ChannelGraph.of(model, IMAGES[:1])
    theirs = other.DependencyGraph().build_dependency(model, IMAGES[:1])
    names = {module: name for name, module in model.named_modules()}

    def side(layer, is_out):
        if isinstance(layer, nn.BatchNorm2d) or getattr(layer, "groups", 1) == 8:
            return "norm"
        return "out" if is_out else "in"

    for name, labels in graph.outs.items():
        layer = model.get_submodule(name)
        cut = other.prune_linear_out_channels
        if not isinstance(layer, nn.Linear):
            cut = other.prune_conv_out_channels
        for channel in {0, len(labels) // 2}:
            if labels[channel] in graph.pinned:
                continue
            expected = set()
            for step, places in theirs.get_pruning_group(layer, cut, idxs=[channel]):
                module, is_out = step.target.module, theirs.is_out_channel_pruning_fn(step.handler)
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.BatchNorm2d):
                    expected |= {(names[module], side(module, is_out), int(p)) for p in places}
            found = {
                (where, kind, place)
                for kind, all_labels in (
                    ("out", graph.outs),
                    ("in", graph.ins),
                    ("norm", graph.norms),
                )
                for where, some in all_labels.items()
                for place, label in enumerate(some)
                if label == labels[channel]
            }
            assert found == expected


class Random(nn.Module):
    """Operations in a random order on tensors of a random choice."""

    def __init__(self, seed):
        super().__init__()
        draw = random.Random(seed)
        self.layers, self.program = nn.ModuleList([nn.Conv2d(1, 4, 3, padding=1)]), []
        widths = [4]
        for _ in range(draw.randint(4, 12)):
            kind = draw.choice(["conv", "up", "norm", "relu", "depthwise", "add", "cat", "odd"])
            one = draw.randrange(len(widths))
            like = [i for i, width in enumerate(widths) if width == widths[one]]
            other, n, width = draw.choice(like), widths[one], widths[one]
            layer = nn.Identity()
            if kind == "conv":
                width = draw.choice([2, 4, 6])
                layer = nn.Conv2d(
                    n, width, draw.choice([1, 3]), padding="same", bias=draw.random() < 0.5
                )
            elif kind == "up":
                layer = nn.ConvTranspose2d(n, n, 3, padding=1)
            elif kind == "norm":
                layer = nn.BatchNorm2d(n)
            elif kind == "depthwise":
                layer = nn.Conv2d(n, n, 3, padding=1, groups=n)
            elif kind == "cat":
                width = 2 * n
            elif kind == "odd":
                layer = draw.choice(
                    [nn.Sigmoid(), nn.GroupNorm(1, n), nn.PReLU(), nn.MaxPool2d(3, 1, 1)]
                )
            self.layers.append(layer)
            self.program.append((kind, one, other))
            widths.append(width)
        self.head = nn.Linear(sum(widths), 3)

    def forward(self, x):
        values = [self.layers[0](x)]
        for layer, (kind, one, other) in zip(self.layers[1:], self.program, strict=True):
            value = layer(values[one])
            if kind == "relu":
                value = torch.relu(value)
            elif kind == "add":
                value = value + values[other]
            elif kind == "cat":
                value = torch.cat([value, values[other]], 1)
            values.append(value)
        return self.head(torch.cat(values, 1).mean((2, 3)))


@pytest.mark.parametrize("seed", range(30))
def test_random_networks_are_compacted_exactly_and_pruned_consistently(seed):
    model = built(lambda: Random(seed), seed)
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)

    def some(tensor):
        return torch.rand(tensor.shape, generator=generator) < 0.6

    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d | nn.Linear):
                layer.weight[some(layer.weight)] = 0
                if layer.bias is not None:
                    layer.bias[some(layer.bias)] = 0
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean[some(layer.running_mean)] = 0
    small = compact(model, IMAGES[:1])
    assert near(small(IMAGES), model(IMAGES))
    assert n_parameters(small) <= n_parameters(model)
    fewer = prune_channels(model, IMAGES[:1], draw.random())
    assert fewer(IMAGES).shape == (6, 3)
