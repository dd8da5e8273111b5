"""Analyses against values worked out here, and the command from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_table import Bench
from torch import Tensor

from locbench.analysis.cka import MinibatchCKA, layerwise_cka, unbiased_hsic
from locbench.analysis.embedding import separation, tsne
from locbench.analysis.maps import active_share, stage_maps
from locbench.analysis.probe import probe_accuracies
from locbench.analysis.representations import PooledFeatures, layer_outputs, pooled_features
from locbench.data.batches import Batch
from locbench.errors import FailureError, UsageError
from locbench.networks.chain import build_chain
from locbench.results.store import Store
from locbench.terminal.analyses import sparkline

RUN = ("run", "--network", "resnet8", "--epochs", "2", "--limit", "100", "--keep-weights")


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hsic_by_sums(k: Tensor, l: Tensor) -> float:  # noqa: E741
    """Return the unbiased HSIC as its definition: sums over tuples of different indices."""
    n = len(k)
    pairs = triples = quadruples = 0.0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        quadruples += float(k[i, j] * l[q, r])
                if len({i, j, q}) == 3:
                    triples += float(k[i, j] * l[i, q])
            if i != j:
                pairs += float(k[i, j] * l[i, j])
    two, three, four = n * (n - 1), n * (n - 1) * (n - 2), n * (n - 1) * (n - 2) * (n - 3)
    return pairs / two - 2 * triples / three + quadruples / four


def test_hsic_is_the_u_statistic_of_its_definition() -> None:
    x, y = normal(7, 5), normal(7, 3, seed=1)
    k, l = x @ x.T, y @ y.T  # noqa: E741
    assert float(unbiased_hsic(k, l)) == pytest.approx(hsic_by_sums(k, l), rel=1e-10)


def similarity(*pairs: tuple[Tensor, Tensor]) -> float:
    cka = MinibatchCKA()
    for pair in pairs:
        cka.add(*pair)
    return cka.value


def test_cka_of_equal_features_is_one_and_a_rotation_changes_nothing() -> None:
    x, y = normal(32, 6) + 3, normal(32, 6, seed=1)
    rotation = torch.linalg.qr(normal(6, 6, seed=2)).Q
    assert similarity((x, x)) == pytest.approx(1, abs=1e-12)
    assert similarity((x, 7 * x @ rotation - 100)) == pytest.approx(1, abs=1e-9)
    assert similarity((x, y @ rotation)) == pytest.approx(similarity((x, y)), abs=1e-9)
    assert abs(similarity((normal(400, 3), normal(400, 3, seed=5)))) < 0.02


def test_cka_of_minibatches_is_the_ratio_of_mean_hsics() -> None:
    x, y = normal(24, 6), normal(24, 4, seed=1) + normal(24, 6)[:, :4]
    sums = np.zeros(3)
    for part in (slice(0, 8), slice(8, 16), slice(16, 24)):
        k, l = x[part] @ x[part].T, y[part] @ y[part].T  # noqa: E741
        sums += [hsic_by_sums(k, l), hsic_by_sums(k, k), hsic_by_sums(l, l)]
    batches = [(x[part], y[part]) for part in (slice(0, 8), slice(8, 16), slice(16, 24))]
    expected = sums[0] / np.sqrt(sums[1] * sums[2])
    assert similarity(*batches) == pytest.approx(expected, rel=1e-9)


def images(count: int = 12) -> Batch:
    torch.manual_seed(3)
    return Batch(images=torch.randn(count, 3, 32, 32), labels=torch.arange(count) % 2, pixels=None)


def test_layers_are_compared_number_by_number() -> None:
    torch.manual_seed(0)
    one, other = build_chain("resnet8", 10, 32).eval(), build_chain("resnet8", 10, 32).eval()
    assert layerwise_cka(one, one, [images()]) == pytest.approx([1.0] * 4, abs=1e-6)
    found = layerwise_cka(one, other, [images()])
    with torch.inference_mode():
        x, y = images().images, images().images
        for index, (first, second) in enumerate(zip(one.units, other.units, strict=True)):
            x, y = first(x), second(y)
            assert found[index] == pytest.approx(similarity((x, y)), abs=1e-9)
    assert layerwise_cka(one, other, [images(), images(3)]) == found  # three images are too few
    with pytest.raises(FailureError, match="four images"):
        layerwise_cka(one, other, [images(3)])
    with pytest.raises(UsageError, match="4 local layers is compared with one of 7"):
        layerwise_cka(one, build_chain("resnet14", 10, 32), [images()])


def test_features_are_averaged_over_the_map() -> None:
    chain = build_chain("resnet8", 10, 32).eval()
    features = pooled_features(chain, [images(4), images(6)])
    assert [each.shape for each in features.layers] == [(10, 16), (10, 16), (10, 32), (10, 64)]
    with torch.inference_mode():
        last = list(layer_outputs(chain, images(4).images))[-1]
    np.testing.assert_allclose(features.layers[-1][:4], last.mean((2, 3)).numpy(), rtol=1e-6)
    assert features.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]


def test_a_probe_tells_separable_classes_apart_and_guesses_on_noise() -> None:
    draws = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    apart = np.eye(4)[labels] * 100 + draws.normal(size=(200, 4))
    noise = draws.normal(size=(200, 4))
    separable, chance = probe_accuracies(PooledFeatures((apart, noise), labels))
    assert separable == 100
    assert 10 < chance < 40
    with pytest.raises(FailureError, match="two images or more"):
        probe_accuracies(PooledFeatures((apart[:3],), np.array([0, 0, 1])))


def test_tsne_keeps_far_clusters_apart() -> None:
    draws = np.random.default_rng(0)
    is_target = np.arange(80) < 20
    features = draws.normal(size=(80, 5)) + 50 * is_target[:, None]
    points = tsne(features)
    assert points.shape == (80, 2)
    assert separation(points, is_target) > 0.5
    assert np.array_equal(points, tsne(features))
    with pytest.raises(FailureError, match="more than 30 images"):
        tsne(features[:30])


def test_maps_are_scaled_means_over_channels() -> None:
    chain = build_chain("resnet8", 10, 32).eval()
    maps = stage_maps(chain, images(2).images)
    assert [each.shape for each in maps] == [(2, 32, 32), (2, 16, 16), (2, 8, 8)]
    with torch.inference_mode():
        last = list(layer_outputs(chain, images(2).images))[-1].mean(1).numpy()[1]
    np.testing.assert_allclose(maps[-1][1], (last - last.min()) / np.ptp(last), atol=1e-6)
    assert active_share(np.array([[[0.0, 0.6], [1.0, 0.5]]])) == 50


def trained(bench: Bench, *methods: str) -> list[str]:
    for method in methods:
        assert bench.call(*RUN, "--method", method).code == 0
    keys = {record.recipe.method: record.key for record in bench.records()}
    return [keys[method] for method in methods]


def test_the_command_draws_and_writes_every_analysis(bench: Bench) -> None:
    bp, dgl = trained(bench, "bp", "dgl")
    few = ("--images", "60")
    for kind in ("cka", "probe", "tsne", "features", "curves"):
        files = ("--out", f"{kind}.png", "--data", f"{kind}.csv")
        called = bench.call("analyse", kind, bp, dgl, *few, *files)
        assert called.code == 0, called.err
        assert "dgl" in called.out
        assert all(len(line) <= 80 for line in called.out.splitlines()[1:])
        picture = (bench.folder / f"{kind}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        frame = pd.read_csv(bench.folder / f"{kind}.csv")
        assert set(frame["key"]) == ({dgl} if kind == "cka" else {bp, dgl})
    cka = pd.read_csv(bench.folder / "cka.csv")
    assert cka["layer"].tolist() == [0, 1, 2, 3]
    entry = json.loads(bench.call("analyse", "curves", bp, dgl, "--json").out)
    by_key = {record.key: record for record in bench.records()}
    losses = [row["train_loss"] for key in (bp, dgl) for row in by_key[key].history]
    assert [row["value"] for row in entry["data"]] == losses


def test_wrong_input_is_one_message(bench: Bench) -> None:
    bp, dgl = trained(bench, "bp", "dgl")
    for words, code, message in (
        (("analyse", "cka", bp), 2, "CKA compares networks"),
        (("analyse", "probe", "nothing"), 2, "no record in"),
        (("analyse", "probe", bp, "--images", "0"), 2, "--images"),
        (("analyse", "tsne", bp, "--target", "77"), 1, "--target"),
        (("analyse", "probe", bp, "--out", "tables/mini.toml/plot.png"), 1, "cannot write"),
    ):
        called = bench.call(*words)
        assert called.code == code, called.err
        assert message in called.err
    assert bench.call("run", "--network", "resnet14", "--method", "bp", *RUN[3:]).code == 0
    other = next(each for each in bench.records() if each.recipe.network == "resnet14")
    called = bench.call("analyse", "cka", bp, other.key)
    assert called.code == 2
    assert "different networks: resnet14 and resnet8" in called.err
    Store(bench.results).weights(dgl).unlink()
    called = bench.call("analyse", "cka", bp, dgl)
    assert called.code == 1
    assert "were not kept" in called.err


def test_sparklines_run_from_the_least_to_the_greatest_value() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([1.0, float("nan"), 0.0]) == "█ ▁"
    assert sparkline([]) == ""
    assert len(sparkline([float(each) for each in range(1000)])) <= 40
