"""Masks of scores, and schedules."""

import pytest
import torch

from cnnzip.errors import ArgumentError
from cnnzip.prune import allocate, cubic, geometric, rates


def scores(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (4, 3, 2), "b": (10, 10), "c": (3, 1)}
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def test_global_masks_keep_the_highest_of_all():
    given = scores()
    given["c"][0] = 1
    before = {name: layer.clone() for name, layer in given.items()}
    masks = allocate(given, 0.5)
    kept = torch.cat([given[name][masks[name]] for name in given])
    cut = torch.cat([given[name][~masks[name]] for name in given])
    assert len(kept) == round(0.5 * 127)
    assert kept.min() > cut.max()
    assert all(masks[name].shape == given[name].shape for name in given)
    assert all(torch.equal(before[name], given[name]) for name in given)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_every_layer_keeps_its_best_weight(scope):
    given = {"a": torch.tensor([5.0, 9.0, 7.0]), "b": torch.tensor([0.1, 0.3, 0.2])}
    masks = allocate(given, 1.0, scope)
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "a": [False, True, False],
        "b": [False, True, False],
    }


def test_scopes_of_layer_and_row_count_there():
    given = scores()
    layers = allocate(given, 0.75, "layer")
    assert [int(mask.sum()) for mask in layers.values()] == [6, 25, 1]
    rows = allocate(given, 0.5, "row")
    assert [mask.flatten(1).sum(1).unique().tolist() for mask in (rows["a"], rows["b"])] == [
        [3],
        [5],
    ]


def test_sparsity_by_layer_leaves_what_is_not_named():
    masks = allocate(scores(), {"b": 0.9}, "layer")
    assert [int(mask.sum()) for mask in masks.values()] == [24, 10, 3]


@pytest.mark.parametrize("scope", ["global", "layer", "row"])
def test_masks_of_growing_sparsity_are_nested_and_pruned_weights_stay(scope):
    given = scores()
    given["c"][0] = 1
    before = None
    for step, sparsity in enumerate((0.3, 0.6, 0.5, 0.9)):
        masks = allocate(given, sparsity, scope)
        if before is not None:
            assert all(bool((before[name] | ~masks[name]).all()) for name in given)
        fresh = scores(step + 1)
        given = {name: fresh[name].masked_fill(~mask, -1) for name, mask in masks.items()}
        before = masks


def test_schedules_end_where_asked():
    assert geometric(0.99, 2) == pytest.approx([0.9, 0.99])
    assert geometric(0.75, 2, start=0.0) == pytest.approx([0.5, 0.75])
    assert geometric(0.96, 2, start=0.64) == pytest.approx([0.88, 0.96])
    assert cubic(0.8, 2) == pytest.approx([0.7, 0.8])
    assert cubic(0.8, 4, start=0.4)[-1] == pytest.approx(0.8)
    assert rates(0.99, 3) == pytest.approx([1 - 1 / 34, 1 - 1 / 67, 0.99])
    assert rates(0.98, 2, start=0.9) == pytest.approx([1 - 1 / 30, 0.98])
    assert rates(0.5, 3, start=0.9) == pytest.approx([0.9] * 3)
    assert geometric(0.5, 3, start=0.9) == pytest.approx([0.9] * 3)
    assert cubic(0.5, 3, start=0.9) == pytest.approx([0.9] * 3)


def test_what_cannot_be_allocated_is_refused_in_a_sentence():
    with pytest.raises(ArgumentError, match=r"sparsity: 1.5; it is a fraction, from 0 to 1"):
        allocate(scores(), 1.5)
    with pytest.raises(ArgumentError, match=r"sparsity of b: 95; it is a fraction"):
        allocate(scores(), {"b": 95}, "layer")
    with pytest.raises(ArgumentError, match=r"no layer 'x'; there are a, b, c"):
        allocate(scores(), {"x": 0.5}, "layer")
    with pytest.raises(ArgumentError, match="give scope='layer' or 'row'"):
        allocate(scores(), {"b": 0.5})
    with pytest.raises(ArgumentError, match="scope: 'net'; give global, layer, row"):
        allocate(scores(), 0.5, "net")
    with pytest.raises(ArgumentError, match=r"sparsity: 1.0; below 1, or schedule='cubic'"):
        geometric(1.0, 3)
    with pytest.raises(ArgumentError, match=r"sparsity: 1.0; below 1, or schedule='cubic'"):
        rates(1.0, 3)
