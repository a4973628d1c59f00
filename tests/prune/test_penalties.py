"""The two penalties of the reconstruction after Khan et al."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnzip.prune import gradient_count, prune_channels, redundancy
from cnnzip.tuning import Batches, fit
from tests.prune.small import accuracy, batches, trained, vgg


def filters(*rows):
    layer = nn.Linear(len(rows[0]), len(rows))
    layer.weight.data = torch.tensor(rows, dtype=torch.float32)
    return nn.Sequential(layer)


def test_redundancy_counts_cosines_above_tau_of_both_signs():
    assert redundancy(filters([1, 0], [0, 2])) == 0
    assert redundancy(filters([1, 0], [3, 0])).item() == pytest.approx(0.7**2)
    assert redundancy(filters([1, 0], [-3, 0])).item() == pytest.approx(0.7**2)
    assert redundancy(filters([1, 0], [3, 0], [0, 1])).item() == pytest.approx(2 / 3 * 0.7**2)
    assert redundancy(filters([1, 0], [1, 1]), tau=0.8) == 0


def test_the_gradient_count_is_that_of_places_where_a_kernel_changes():
    layer = nn.Conv2d(1, 2, 3)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 1, 1] = 5.0
    # the spike's own place, that left of it, and that above it: 3 of 18
    assert gradient_count(layer, sigma=1e-4).item() == pytest.approx(3 / 18, rel=1e-6)
    assert gradient_count(nn.Linear(3, 3)) == 0


@pytest.mark.parametrize(("penalty", "weight"), [(redundancy, 0.1), (gradient_count, 0.5)])
def test_training_lowers_each_penalty_at_equal_accuracy(penalty, weight):
    model = trained(vgg)
    plain = fit(model, batches(), 6, lr=2e-3).eval()
    drawn = fit(model, batches(), 6, lr=2e-3, penalty=lambda m: weight * penalty(m)).eval()
    assert penalty(drawn).item() < 0.8 * penalty(plain).item()
    assert accuracy(drawn) > accuracy(plain) - 1


class UNet(nn.Module):
    """Two levels and a concatenation."""

    def __init__(self):
        super().__init__()
        self.down, self.deep = nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 24, 3, padding=1)
        self.up, self.join = (
            nn.ConvTranspose2d(24, 12, 2, stride=2),
            nn.Conv2d(24, 12, 3, padding=1),
        )
        self.out = nn.Conv2d(12, 1, 1)

    def forward(self, x):
        fine = torch.relu(self.down(x))
        coarse = torch.relu(self.deep(functional.max_pool2d(fine, 2)))
        return self.out(torch.relu(self.join(torch.cat([fine, self.up(coarse)], 1))))


def disks(n, seed):
    """Noisy images of a disk, and where the disk is."""
    generator = torch.Generator().manual_seed(seed)
    middle = 4 + 8 * torch.rand(n, 2, 1, 1, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    inside = (rows - middle[:, 0]) ** 2 + (columns - middle[:, 1]) ** 2 < 14
    masks = inside.float()[:, None]
    return masks + 0.3 * torch.randn(masks.shape, generator=generator), masks


def overlap(model):
    """Intersection over union on images that training did not see."""
    images, masks = disks(200, 1)
    with torch.no_grad():
        found = model.eval()(images) > 0
    return float((found & (masks > 0)).sum() / (found | (masks > 0)).sum())


def test_a_segmentation_network_loses_half_its_channels_and_no_overlap():
    def pixelwise(model, batch):
        return functional.binary_cross_entropy_with_logits(model(batch[0]), batch[1])

    data = Batches(*disks(400, 0), size=40)
    options = {"loss": pixelwise, "lr": 5e-3}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = UNet()
    dense = fit(fresh, data, 8, **options)
    joint = fit(
        dense, data, 4, penalty=lambda m: 0.1 * redundancy(m) + 0.5 * gradient_count(m), **options
    )
    small = prune_channels(joint, data.tensors[0][:1], 0.5, importance="redundancy")
    tuned = fit(small, data, 4, **options)
    n_weights = [sum(p.numel() for p in model.parameters()) for model in (dense, tuned)]
    assert n_weights[1] < 0.4 * n_weights[0]
    assert overlap(dense) > 0.9
    assert overlap(tuned) > overlap(dense) - 0.02
