"""Kept weights: what is in the file, when a run is made again for them, and what loads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from small_table import Bench
from specimens import recipe_of
from torch import nn

from locbench.analysis.trained import trained_learner
from locbench.errors import FailureError, UsageError
from locbench.learning.learner import build_learner
from locbench.networks.chain import build_chain
from locbench.networks.pretrained import library_of, library_state
from locbench.networks.weight_files import keep_weights, weights_in
from locbench.results.named import named_record
from locbench.results.store import Store

RUN = ("run", "--network", "resnet8", "--method", "dgl", "--epochs", "1", "--limit", "60")


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def test_a_run_keeps_its_network_and_its_auxiliary_nets(bench: Bench) -> None:
    assert bench.call(*RUN, "--keep-weights").code == 0
    (record,) = bench.records()
    store = Store(bench.results)
    state = load_file(store.weights(record.key))
    prefixes = {name.partition(".")[0] for name in state}
    assert prefixes == {"chain", "independents"}
    learner = trained_learner(record, store)
    assert not learner.training
    assert all(torch.equal(each, state[name]) for name, each in learner.state_dict().items())
    fresh = build_learner(record.recipe, 10, 32)
    first = "chain.units.0.0.weight"
    assert not torch.equal(fresh.state_dict()[first], state[first])


def test_a_recorded_run_without_weights_is_run_again_for_them(bench: Bench) -> None:
    assert bench.call(*RUN).code == 0
    (before,) = bench.records()
    store = Store(bench.results)
    assert not store.weights(before.key).exists()
    written = store.path(before).stat().st_mtime_ns
    assert bench.call(*RUN, "--keep-weights").code == 0
    assert store.weights(before.key).is_file()
    (after,) = bench.records()
    assert after.metrics == before.metrics
    rewritten = store.path(after).stat().st_mtime_ns
    assert rewritten > written
    assert bench.call(*RUN, "--keep-weights").code == 0
    assert store.path(after).stat().st_mtime_ns == rewritten


def test_kept_weights_are_listed_and_exported(bench: Bench) -> None:
    assert "No weights are kept" in bench.call("weights").out
    assert bench.call(*RUN, "--keep-weights").code == 0
    (record,) = bench.records()
    (entry,) = json.loads(bench.call("weights", "--json").out)
    assert entry["key"] == record.key
    out = bench.folder / "network.safetensors"
    assert bench.call("weights", record.key, "--out", str(out)).code == 0
    chain = build_chain("resnet8", 10, 32)
    chain.load_state_dict(load_file(out))
    kept = weights_in(Store(bench.results).weights(record.key))
    assert all(torch.equal(each, kept[name]) for name, each in chain.state_dict().items())
    torch_file = bench.folder / "network.pt"
    assert bench.call("weights", record.recipe.name, "--out", str(torch_file)).code == 0
    assert torch.load(torch_file, weights_only=True).keys() == chain.state_dict().keys()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("weights", "nothing", "--out", "x.pt"), 2, "no record in"),
        (("weights", "--out", "x.pt"), 2, "takes a record and --out"),
        (("weights", "resnet8", "--out", "x.onnx"), 2, "ends with none of"),
        (("weights", "resnet8", "--out", "x.pt"), 1, "were not kept"),
    ],
)
def test_wrong_input_is_one_message(
    bench: Bench, words: tuple[str, ...], code: int, message: str
) -> None:
    assert bench.call(*RUN).code == 0
    found = bench.call(*words)
    assert found.code == code
    assert message in found.err
    assert "Traceback" not in found.err


def test_weights_of_another_recipe_are_refused(bench: Bench) -> None:
    assert bench.call(*RUN, "--keep-weights").code == 0
    (record,) = bench.records()
    store = Store(bench.results)
    other = build_learner(recipe_of("bp", {}, network="resnet14"), 10, 32)
    keep_weights(other, store.weights(record.key))
    with pytest.raises(FailureError, match="does not hold the weights"):
        trained_learner(record, store)


def test_a_record_is_named_by_file_key_name_or_a_part_of_it(bench: Bench) -> None:
    assert bench.call(*RUN, "--seeds", "2").code == 0
    store = Store(bench.results)
    first, second = bench.records()
    assert named_record(first.key, store)[0] == first
    assert named_record(f"s{second.recipe.seed}-", store)[0] == second
    found, elsewhere = named_record(str(store.path(second)), Store(Path("nowhere")))
    assert found == second
    assert elsewhere.folder.samefile(bench.results)
    with pytest.raises(UsageError, match="fits 2 records"):
        named_record("resnet8", store)
    broken = bench.folder / "broken.json"
    broken.write_text("{}")
    with pytest.raises(UsageError, match="is no record"):
        named_record(str(broken), store)


def _theirs(network: str) -> Any:
    if network == "swin-tiny":
        return timm.create_model("swin_tiny_patch4_window7_224", num_classes=7, img_size=224)
    names = {"vgg13": "vgg13_bn", "resnet34": "resnet34"}
    return torchvision.models.get_model(names[network], num_classes=7)


@pytest.mark.parametrize("network", ["resnet34", "vgg13", "swin-tiny"])
def test_the_librarys_network_loads_exported_weights_and_computes_the_same(network: str) -> None:
    torch.manual_seed(0)
    chain = build_chain(network, 7, 224)
    with torch.no_grad():
        for layer in chain.modules():
            if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
                layer.running_mean.uniform_(-0.1, 0.1)
    theirs = _theirs(network).eval()
    assert library_of(network) == ("timm" if network == "swin-tiny" else "torchvision")
    theirs.load_state_dict(library_state(chain, network), strict=True)
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(chain.eval()(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_a_network_of_no_library_keeps_its_names() -> None:
    assert library_of("resnet32") == ""
    assert library_of("swin-micro") == ""
