"""The recipes, on tiny networks and data."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmarks.recipes import pqk, stereo, unlabelled
from benchmarks.recipes.__main__ import main
from benchmarks.recipes.table import sizes, summary
from benchmarks.shrink import subjects
from cnnzip.prune import one_shot
from cnnzip.tuning import FakeQuant, Mask, cross_entropy, fit, targets
from cnnzip.tuning.parametrizations import find, kept_of, raw_of, weight_of
from tests.benchmarks.tiny import build, few

PQK = pqk.Settings(sparsity=0.8, steps=2, polish=1, epochs=1)
STEREO = stereo.Settings(width=6, epochs=6, sparsities=(0.5, 0.8), steps=1, polish=1, tuning=1)
UNLABELLED = unlabelled.Settings(sparsities=(0.8,), pretext=2, more=1, labels=10)


def scene():
    """Noise, nearer in the middle rows."""
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(1, 3, 84, 40, generator=generator)
    disparity = torch.full((1, 84, 40), 2.0)
    disparity[:, 24:48] = 5.0
    right = torch.randn(1, 3, 84, 40, generator=generator)
    for rows, shift in ((slice(0, 24), 2), (slice(24, 48), 5), (slice(48, 84), 2)):
        right[:, :, rows, : 40 - shift] = left[:, :, rows, shift:]
    disparity[:, :, :6] = torch.nan  # out of the right image
    return stereo.Scene(torch.stack([left, right], 1), disparity, 24)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch, tmp_path):
    monkeypatch.setattr(subjects, "FOLDER", tmp_path)
    recipe = subjects.Recipe(build, partial(few, 192), 4, 1e-2, "a tiny network")
    monkeypatch.setitem(subjects.RECIPES, "tiny", recipe)
    monkeypatch.setattr(stereo, "motorcycle", scene)
    for module, settings in ((pqk, PQK), (stereo, STEREO), (unlabelled, UNLABELLED)):
        monkeypatch.setattr(module, "NETWORKS", ("tiny",))
        monkeypatch.setattr(module, "Settings", lambda settings=settings: settings)
    subjects.subject.cache_clear()
    yield
    subjects.subject.cache_clear()


@pytest.fixture
def student():
    dense = subjects.subject("tiny", 0)
    return dense, pqk.phase_1(dense.dense, dense.batches, PQK, 0)


def test_phase_1_prunes_and_rounds(student):
    _, model = student
    kept = [kept_of(layer) for layer in targets(model).values()]
    n_kept, n_weights = sum(int(k.sum()) for k in kept), sum(k.numel() for k in kept)
    assert n_kept == round(0.2 * n_weights)
    assert all(len(weight_of(layer).unique()) <= 7 for layer in targets(model).values())


@pytest.mark.parametrize("quantized", [False, True])
def test_phase_2_keeps_the_students_support_and_levels_and_trains_pruned_weights(
    student, quantized
):
    dense, before = student
    losses = {"teacher": pqk.teaching(4.0, quantized), "alone": cross_entropy}
    for name, loss in losses.items():
        after = fit(before, dense.batches, 2, loss=loss)
        for layer, old in zip(targets(after).values(), targets(before).values(), strict=True):
            assert torch.equal(kept_of(layer), kept_of(old))
            assert not weight_of(layer)[~kept_of(layer)].any()
            assert len(weight_of(layer).unique()) <= 7
            is_moved = not torch.equal(raw_of(layer)[~kept_of(old)], raw_of(old)[~kept_of(old)])
            assert is_moved == (name == "teacher")


def test_the_teacher_is_the_same_network_without_masks(student):
    dense, model = student
    images, labels = dense.data.train_images[:32], dense.data.train_labels[:32]
    plain = build()
    for layer, own in zip(targets(plain).values(), targets(model).values(), strict=True):
        layer.weight.data = raw_of(own).detach().clone()
    for norm, own in zip(plain.modules(), _plain_modules(model), strict=True):
        if isinstance(norm, nn.BatchNorm2d):
            norm.load_state_dict(own.state_dict())
    plain[-1].bias.data = model[-1].bias.detach().clone()
    with torch.no_grad():
        one, other = model.eval()(images), plain.eval()(images)
        found = pqk.teaching(2.0, quantized=False)(model, (images, labels))
        again = model(images)
    p, q = (other / 2).softmax(1), (one / 2).softmax(1)
    distance = (p * (p.log() - q.log())).sum(1).mean()
    due = functional.cross_entropy(one, labels) + functional.cross_entropy(other, labels)
    assert found.item() == pytest.approx((due + 4 * distance).item(), rel=1e-4)
    assert torch.equal(one, again)


def _plain_modules(model):
    ours = (Mask, FakeQuant, nn.utils.parametrize.ParametrizationList, nn.ModuleDict)
    return [module for module in model.modules() if not isinstance(module, ours)]


def test_pqk_shows_what_phase_2_is_worth():
    rows = list(pqk.rows("tiny", 0))
    assert [row["step"].split(":")[0] for row in rows] == ["dense", "phase 1"] + ["phase 2"] * 3
    assert rows[0]["to dense, points"] == 0
    assert len({row["weights"] for row in rows[1:]}) == 1
    assert all(row["bytes"] < rows[0]["bytes"] and row["most values"] <= 7 for row in rows[1:])


def test_a_network_for_stereo_finds_what_moved_by_how_much():
    given = scene()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = stereo.Stereo(48, given.most).eval()
    nn.init.zeros_(model.smooth[-1].weight)
    nn.init.zeros_(model.smooth[-1].bias)
    with torch.no_grad():
        # rows whose features see one disparity alone
        error = (model(given.pair) - given.disparity)[:, [8, 12, 36, 60]].abs()
    assert float(error[error.isfinite()].median()) < 0.5


def test_the_real_pair_is_of_one_scene():
    pytest.importorskip("skimage")
    given = _motorcycle()
    left, right = given.pair[0]
    shift = given.disparity[0].nan_to_num(0).round().long()
    columns = torch.arange(left.shape[2])
    known = given.disparity[0].isfinite() & (columns >= shift)

    def gap(sign):
        places = (columns - sign * shift).clamp(0, left.shape[2] - 1)
        moved = right.gather(2, places.expand_as(left))
        return float((moved - left).abs().mean(0)[known].mean())

    assert given.pair.shape == (1, 2, 3, 125, 185)
    assert given.disparity.shape == (1, 125, 185)
    assert given.n_trained == 111
    assert gap(1) < 0.7 * min(gap(0), gap(-1))
    trained = torch.cat([given.batches.tensors[1].nan_to_num(-1).flatten(), torch.tensor([-1.0])])
    assert given.batches.tensors[0].shape[2:] == (3, 64, 111)
    assert trained.max() < given.most


_motorcycle = stereo.motorcycle


def test_stereo_prunes_quantizes_and_beats_a_constant():
    rows = {row["step"]: row for row in stereo.rows("tiny", 0)}
    constant, dense = rows["a constant, the median"], rows["dense"]
    assert dense["error, pixels"] < constant["error, pixels"]
    for score in ("taylor", "magnitude"):
        sizes_ = [dense] + [rows[f"{score}, {part} % pruned"] for part in (50, 80)]
        weights = [row["weights"] for row in sizes_]
        assert weights[1:] == [round(0.5 * weights[0]), round(0.2 * weights[0])]
        for part in (50, 80):
            name = f"{score}, {part} % pruned"
            quantized = rows[f"{name}, quantized"]
            assert quantized["bytes"] < rows[name]["bytes"] < dense["bytes"]
            assert quantized["most values"] < rows[name]["most values"]


def test_four_views_differ_and_turn_back():
    for images in (few(192).test_images[:3], torch.randn(3, 1, 40)):
        views = [unlabelled.turned(images, view) for view in range(4)]
        assert torch.equal(views[0], images)
        pairs = [(i, j) for i in range(4) for j in range(i)]
        assert not any(torch.equal(views[i], views[j]) for i, j in pairs)
        assert torch.equal(unlabelled.turned(views[2], 2), images)


def test_no_label_is_read_by_what_is_trained_and_pruned_without_labels(monkeypatch):
    rows = list(unlabelled.rows("tiny", 0))
    other = replace(few(192), train_labels=few(192).train_labels.flip(0))
    recipe = replace(subjects.RECIPES["tiny"], data=lambda: other)
    monkeypatch.setitem(subjects.RECIPES, "tiny", recipe)
    again = list(unlabelled.rows("tiny", 0))
    is_blind = [row["trained on"] == "views, no labels" for row in rows]
    assert is_blind == [True, True, False, False, False, False]
    for row, same in zip(rows[:2], again[:2], strict=True):
        assert row.pop("probe, %") != same.pop("probe, %")
        assert row == same
    assert rows[2]["accuracy, %"] > again[2]["accuracy, %"] + 20
    model, images = build(), few(192).train_images
    pruned = one_shot(
        model,
        0.5,
        score="taylor",
        data=unlabelled.without_labels(images),
        loss=unlabelled.which_view,
    )
    assert sizes(pruned)["weights"] < sizes(model)["weights"]
    with pytest.raises(AssertionError):
        unlabelled.which_view(model, (images, few(192).train_labels))


def test_masks_from_here_and_there_keep_as_many_weights_in_each_layer():
    rows = list(unlabelled.rows("tiny", 0))[3:]
    assert [row["masks from"] for row in rows] == ["labels", "pretext", "random"]
    assert len({row["weights"] for row in rows}) == 1


@pytest.mark.parametrize("recipe", ["pqk", "stereo", "unlabelled"])
def test_each_recipe_prints_a_table_or_rows(recipe, capsys):
    assert main([recipe, "--seeds", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["seed"] for row in rows} == {0}
    assert main([recipe, "--seeds", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("tiny, seed 0")
    assert len([line for line in printed.splitlines() if line.startswith("|")]) == len(rows) + 2


def test_what_cannot_be_asked_is_refused(capsys):
    for arguments in (["pqk", "--seeds", "0"], ["pqk", "--network", "vgg"], ["gan"]):
        with pytest.raises(SystemExit):
            main(arguments)
    assert "--network vgg: there are tiny" in capsys.readouterr().err


def test_a_table_has_means_and_standard_errors():
    rows = [
        {"step": "a", "seed": 0, "error": 1.0, "bytes": 1000},
        {"step": "b", "seed": 0, "bytes": 10},
        {"step": "a", "seed": 1, "error": 2.0, "bytes": 2000},
    ]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in summary(rows).split("\n")]
    assert lines[0] == ["step", "error", "bytes"]
    assert lines[2:] == [["a", "1.50 ± 0.50", "1,500"], ["b", "", "10"]]


def test_rounding_is_under_the_masks_of_the_student(student):
    _, model = student
    for layer in targets(model).values():
        assert find(layer, Mask) is not None
        assert find(layer, FakeQuant) is not None
