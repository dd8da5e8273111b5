"""`locbench check`: what it says of components that break the contract, and of those that hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from plugin_files import PLUGINS, loaded, writer

from locbench.commands.contract import REGISTRIES, Bench, Kind, check_components
from locbench.console import Output
from locbench.contract.findings import Finding, findings
from locbench.errors import FailureError, UsageError
from locbench.spec.methods import METHODS

METHOD = """
import torch
import torch.nn.functional as F
from torch import nn

from locbench import (
    BRANCHES, METHODS, NETWORKS, AuxiliaryNet, Branch, ChainBuilder, Composition, Method,
    NetworkInfo, part_of,
)
from locbench.networks.layers import conv_bn_relu, pooled_classifier

FIRST, KEPT = [], []

class Layer(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)

    def forward(self, x):
        KEPT.append(self.conv(x))
        return KEPT[-1]

def own_network(classes, side):
    layers = ChainBuilder(side)
    for _ in range(4):
        layers.add_clone(Layer, 8, 1, 1)
    FIRST[:] = [layers.units[0].conv]
    return layers.chain(pooled_classifier(8, classes), classes)

NETWORKS.add("own-network", NetworkInfo("own-network", "Own", 4, own_network))

class Net(AuxiliaryNet):
    def __init__(self, options, point):
        super().__init__()
        self.linear = nn.Linear(point.spec.channels, point.classes)
        self.calls = 0

    def forward(self, features):
        return self.linear(features.mean((2, 3)))

    def criterion(self, output, targets):
        return F.cross_entropy(output, targets.labels)

def compose(method, context):
    return Composition(branches=(Own(),))
"""

REGISTER = """
@BRANCHES.built_by(Net)
class Own(Branch, frozen=True, tag="own"):
    pass

@METHODS.register("own")
class OwnMethod(Method, frozen=True):
    compose = compose
"""

STAYS = "gradients of auxiliary nets stay in their own module"

FAULTY: dict[str, tuple[str, str, str]] = {
    "weights of an earlier module in its loss": (
        "Net.criterion = lambda net, output, targets: "
        "F.cross_entropy(output, targets.labels) + FIRST[0].weight.square().sum()",
        STAYS,
        " reaches chain.units.0.conv.weight, of module 1",
    ),
    "weights that are a module's too": (
        "BuiltNet = Net\n"
        "def build(options, point):\n"
        "    net = BuiltNet(options, point)\n"
        "    net.tied = FIRST[0]\n"
        "    net.forward = lambda x: net.linear(x.mean((2, 3))) + net.tied.weight.mean()\n"
        "    return net\n"
        "Net = build",
        STAYS,
        "shares chain.units.0.conv.weight, of module 1",
    ),
    "the graph of an earlier module": (
        "Net.criterion = lambda net, output, targets: "
        "F.cross_entropy(output, targets.labels) + KEPT[-1].mean()",
        "a step runs and every loss is a finite number",
        "backward through the graph a second time",
    ),
    "no number": (
        "Net.criterion = lambda net, output, targets: output.sum() * float('nan')",
        "a step runs and every loss is a finite number",
        "losses of its modules are [nan, nan, nan, ",
    ),
    "several losses": (
        "Net.criterion = lambda net, output, targets: output.mean(dim=1)",
        "a step runs and every loss is a finite number",
        "RuntimeError: grad can be implicitly created only for scalar outputs",
    ),
    "a parameter that nothing uses": (
        "class Net(Net):\n"
        "    def __init__(self, options, point):\n"
        "        super().__init__(options, point)\n"
        "        self.unused = nn.Linear(2, 2)",
        "every parameter has a finite gradient",
        "independents.0.branches.0.unused.weight has no gradient",
    ),
    "a state that is not saved": (
        "def criterion(net, output, targets):\n"
        "    net.calls += 1\n"
        "    return net.calls * F.cross_entropy(output, targets.labels)\n"
        "Net.criterion = criterion",
        "repeated, a step has the same gradients",
        " has another gradient",
    ),
    "a builder that fails": (
        "def build(options, point):\n    return nn.Linear(point.channel, 3)\nNet = build",
        "it is built",
        "AttributeError: 'AttachPoint' object has no attribute 'channel' (",
    ),
    "a builder that takes something else": (
        "Net = lambda options: None",
        "it is built",
        "the auxiliary branch 'own' of the plugin 'own' cannot be built: <lambda>() takes 1",
    ),
    "no auxiliary net": (
        "Net = lambda options, point: nn.Linear(3, 3)",
        "it is built",
        "the auxiliary branch 'own' is built as a Linear",
    ),
    "no composition": (
        "compose = lambda method, context: None",
        "a recipe is made of it on own-network",
        "method 'own' composes a NoneType",
    ),
    "a branch that is not registered": (
        "class Other(Branch, frozen=True, tag='other'): pass\n"
        "compose = lambda method, context: Composition(branches=(Other(),))",
        "a recipe is made of it on own-network",
        "unknown auxiliary branch 'Other'",
    ),
    "an error of its own": (
        "compose = lambda method, context: 1 / 0",
        "a recipe is made of it on own-network",
        "ZeroDivisionError: division by zero (",
    ),
}


def found(kind: Kind, name: str, root: Path, network: str = "own-network") -> list[Finding]:
    return list(findings(Bench(network, None, root).checks(kind, name)))


@pytest.mark.parametrize("what", FAULTY)
def test_a_method_that_breaks_the_contract_is_found(tmp_path: Path, what: str) -> None:
    change, holds, fault = FAULTY[what]
    with loaded(writer(tmp_path)(METHOD + change + REGISTER)):
        first = next(each for each in found("method", "own", tmp_path) if each.fault)
    assert first.holds == holds
    assert fault in first.fault


def test_one_that_keeps_it_holds(tmp_path: Path) -> None:
    with loaded(writer(tmp_path)(METHOD + REGISTER)):
        for kind, name in (
            ("method", "own"),
            ("auxiliary branch", "own"),
            ("network", "own-network"),
        ):
            said = found(kind, name, tmp_path)  # type: ignore[arg-type]
            assert len(said) >= 5
            assert [each for each in said if each.fault] == []


NETWORK = """
from locbench import DATASETS, NETWORKS, ChainBuilder, DatasetInfo, NetworkInfo
from locbench.networks.layers import conv_bn_relu, pooled_classifier
import numpy as np

def layer(inputs, outputs, stride):
    return conv_bn_relu(inputs, outputs, stride=stride)

def build(classes, side):
    layers = ChainBuilder(side)
    layers.add_clone(layer, 8, 1, 1)
    layers.add(layer(8, 8, 1), {stride}, {channels}, 1, layer)
    return layers.chain(pooled_classifier(8, {classes}), classes)

NETWORKS.add("own", NetworkInfo("own", "Own", {units}, build))

def read(info, root, download):
    part = lambda size: ({pixels}, {labels})
    return part(info.train_size), part(info.test_size)

DATASETS.add("own", DatasetInfo("own", "Own", 3, 8, 12, 6, reader=read))
"""

SOUND = {
    "stride": "1",
    "channels": "8",
    "classes": "classes",
    "units": "2",
    "pixels": "np.zeros((size, 8, 8, 3), np.uint8)",
    "labels": "np.arange(size) % 3",
}

FAULTY_PARTS: dict[str, tuple[Kind, dict[str, str], str]] = {
    "units": ("network", {"units": "3"}, "has 2 local layers, and its NetworkInfo says 3"),
    "channels": (
        "network",
        {"channels": "4"},
        "layer 2 gives (2, 8, 16, 16), and its spec says (2, 4, 16, 16)",
    ),
    "stride": (
        "network",
        {"stride": "2"},
        "layer 2 gives (2, 8, 16, 16), and its spec says (2, 8, 8, 8)",
    ),
    "classes": ("network", {"classes": "7"}, "its classifier gives (2, 7), not (2, 10)"),
    "kind of pixels": (
        "data set",
        {"pixels": "np.zeros((size, 8, 8, 3))"},
        "its pixels are float64 and float64, and not uint8",
    ),
    "shape of pixels": (
        "data set",
        {"pixels": "np.zeros((size, 3, 8, 8), np.uint8)"},
        "its pixels are (12, 3, 8, 8) and not (12, 8, 8, 3)",
    ),
    "number of labels": (
        "data set",
        {"labels": "np.arange(size - 1) % 3"},
        "its labels are (11,) and not (12,)",
    ),
    "labels": ("data set", {"labels": "np.arange(size)"}, "its labels are not all from 0 to 2"),
    "no pair": ("data set", {"pixels": "1", "labels": "1"}, "its pixels are int64"),
    "a class without images": (
        "data set",
        {"labels": "np.arange(size) % 2"},
        "no training image is of class 2",
    ),
    "other images each time": (
        "data set",
        {"pixels": "np.random.randint(0, 256, (size, 8, 8, 3), np.uint8)"},
        "its images differ; let random ones be drawn from a fixed seed",
    ),
    "an error of its own": ("data set", {"pixels": "1 / 0"}, "ZeroDivisionError"),
}


@pytest.mark.parametrize("what", FAULTY_PARTS)
def test_a_network_or_a_data_set_that_breaks_the_contract_is_found(
    tmp_path: Path, what: str
) -> None:
    kind, changes, fault = FAULTY_PARTS[what]
    with loaded(writer(tmp_path)(NETWORK.format(**SOUND | changes))):
        first = next(each for each in found(kind, "own", tmp_path, "resnet8") if each.fault)
    assert fault in first.fault


@pytest.mark.parametrize("kind", ["network", "data set"])
def test_sound_parts_hold(tmp_path: Path, kind: Kind) -> None:
    with loaded(writer(tmp_path)(NETWORK.format(**SOUND))):
        said = found(kind, "own", tmp_path, "resnet8")
    assert len(said) >= 5
    assert [each for each in said if each.fault] == []


def test_the_command_checks_what_the_plugins_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench("resnet8", None, tmp_path)
    with loaded(PLUGINS / "smoothed.py", PLUGINS / "bars.py"):
        check_components((), bench, Output(True))
        said = {(each["kind"], each["name"]): each for each in json.loads(capsys.readouterr().out)}
        assert set(said) == {
            ("method", "smoothed"),
            ("auxiliary branch", "smoothed"),
            ("network", "convnet3"),
            ("data set", "bars"),
        }
        assert {each["plugin"] for each in said.values()} == {"smoothed", "bars"}
        assert not any(finding["fault"] for each in said.values() for finding in each["findings"])
        check_components(("bars",), bench, Output(False))
        shown = capsys.readouterr().out
        assert "data set bars, of the plugin bars" in shown
        assert "  holds  read twice, it has the same images" in shown
        assert "5 of 5 checks hold." in shown


def test_a_fault_is_a_failure_and_what_else_is_said_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = METHOD + FAULTY["a parameter that nothing uses"][0] + REGISTER
    with loaded(writer(tmp_path)(text)), pytest.raises(FailureError) as caught:
        check_components(("own",), Bench("own-network", None, tmp_path), Output(False))
    assert caught.value.exit_code == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "FAILS every parameter has a finite gradient: independents.0.branches.0" in shown
    assert "holds a step of a global phase runs" in shown


def test_names_that_are_not_there(tmp_path: Path) -> None:
    bench = Bench("resnet8", None, tmp_path)
    with pytest.raises(UsageError, match="unknown component 'dgll'") as caught:
        check_components(("dgll",), bench, Output(False))
    assert "'dgl'" in caught.value.remedy
    with pytest.raises(UsageError, match="there is nothing to check"):
        check_components((), bench, Output(False))


def test_every_kind_has_its_registry() -> None:
    assert list(REGISTRIES) == list(get_args(Kind))
    assert REGISTRIES["method"] is METHODS
