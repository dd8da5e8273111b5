"""AugLocal's official code in a folder; here a small one with its public names."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from locbench.bench.cases import official_cases
from locbench.bench.official import OfficialArguments, OfficialCode, OfficialStep
from locbench.cli import main
from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.spec.arguments import cost_recipe
from locbench.spec.recipe import Recipe

CPU = torch.device("cpu")

PARAMETERS = {"BP": 466_906, "DGL": 1_305_200}
"""Of the official networks on ten classes, ResNet-32 with 16 modules, counted in the code."""

RESNET = f"""
import torch
from torch import nn

PARAMETERS = {PARAMETERS}


class Net(nn.Module):
    def __init__(self, local_module_num, batch_size, image_size, dataset, class_num, rule, **nets):
        from utils.others import zeros

        super().__init__()
        self.weight = nn.Parameter(zeros(PARAMETERS[rule]))
        self.shape, self.seen = (batch_size, 3, image_size, image_size), None
        self.made_with = (local_module_num, dataset, class_num, nets)

    def forward(self, img, target=None, ixx_1=0, ixy_1=0, ixx_2=0, ixy_2=0):
        assert img.shape == self.shape and img.is_contiguous() and self.training
        self.seen = (ixx_1, ixy_1, ixx_2, ixy_2)
        logits = self.weight[:10].expand(len(img), 10)
        loss = 2 * self.weight[0] + self.weight[9]
        loss.backward()
        return logits, loss, [], [], []


def resnet32(**settings):
    return Net(**settings)
"""

OTHERS = """
import torch


def zeros(count):
    return torch.zeros(count).cuda()
"""


def checkout(folder: Path, resnet: str = RESNET) -> Path:
    for name, text in (("networks/resnet.py", resnet), ("utils/others.py", OTHERS)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def code(tmp_path: Path) -> Iterator[OfficialCode]:
    paths = list(sys.path)
    yield OfficialCode(checkout(tmp_path), CPU)
    for name in [name for name in sys.modules if name.split(".")[0] in ("networks", "utils")]:
        del sys.modules[name]
    assert sys.path == paths


def recipe(method: str, network: str = "resnet32", **settings: Any) -> Recipe:
    return cost_recipe(
        {"network": network, "method": method, "lr": 0.5, "batch_size": 4, **settings}
    )


# The settings of the commands that are published with the official code.
COMMANDS: dict[tuple[str, str], tuple[dict[str, Any], tuple[float, float, float, float]]] = {
    ("resnet32", "bp"): ({"rule": "BP", "local_module_num": 1}, (0, 1, 0, 1)),
    ("resnet32", "dgl"): ({"rule": "DGL", "local_module_num": 16}, (0, 1, 0, 1)),
    ("resnet110", "dgl"): ({"rule": "DGL", "local_module_num": 55}, (0, 1, 0, 1)),
    ("resnet32", "predsim"): (
        {"rule": "PredSim", "local_module_num": 16, "hidden_dim": 512},
        (0.99, 0.01, 0.99, 0.01),
    ),
    ("resnet32", "infopro"): ({"rule": "InfoPro", "local_module_num": 16}, (5, 0.05, 0.2, 0.5)),
    ("resnet110", "infopro"): ({"rule": "InfoPro", "local_module_num": 55}, (5, 0, 0.5, 1)),
    ("resnet32", "auglocal"): (  # d = 4, aux_net_depth 3, 16 - 3 modules
        {"rule": "AugLocal", "local_module_num": 13, "aux_net_depth": 3, "paramid_coeff": 0.5},
        (0, 1, 0, 1),
    ),
}


@pytest.mark.parametrize(("network", "method"), COMMANDS)
def test_recipes_are_trained_by_the_published_commands(network: str, method: str) -> None:
    options = {"options": {"depth": 4}} if method == "auglocal" else {}
    arguments = OfficialArguments.of(recipe(method, network, **options))
    settings, weights = COMMANDS[network, method]
    assert settings.items() <= arguments.network.items()
    names = ("ixx_1", "ixy_1", "ixx_2", "ixy_2")
    assert tuple(arguments.weights[name] for name in names) == weights


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("hpff+dgl", {}),
        ("pgl+dgl", {}),
        ("head", {}),
        ("dgl", {"options": {"variant": "official"}}),
        ("predsim", {"options": {"zero_init": True}}),
        ("infopro", {"options": {"net": "2C2F"}}),
        ("auglocal", {"options": {"head_bn": False}}),
        ("auglocal", {"options": {"merge_top": False}}),
        ("dgl", {"network": "resnet20"}),
        ("dgl", {"precision": "bf16"}),
        ("dgl", {"memory": "lean"}),
        ("dgl", {"modules": 8}),
    ],
)
def test_what_the_official_code_does_not_train_is_refused(
    method: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="official code has no"):
        OfficialArguments.of(recipe(method, **settings))


def test_what_is_compared_where_nothing_is_named() -> None:
    settings: dict[str, object] = {"network": None, "method": None, "modules": None}
    found = official_cases(settings, [])
    assert [case.method for case in found] == [
        "bp",
        "dgl",
        "predsim",
        "infopro",
        "auglocal depth=2",
    ]
    assert {case.recipe.network for case in found} == {"resnet32"}
    found = official_cases(settings | {"network": "resnet110", "method": "auglocal"}, ["depth=3"])
    assert [case.label for case in found] == ["resnet110 bp", "resnet110 auglocal depth=3"]
    with pytest.raises(UsageError, match="--set needs --method"):
        official_cases(settings, ["depth=3"])


def test_a_step_of_the_official_code(code: OfficialCode) -> None:
    step = OfficialStep(recipe("dgl"), code, CPU)
    assert step.net.made_with == (16, "cifar10", 10, {"aux_net_config": "DGL"})
    step()
    assert step.net.seen == (0.0, 1.0, 0.0, 1.0)
    expected = torch.zeros(PARAMETERS["DGL"])
    # Nesterov's first step: lr (1 + momentum) gradient, weight decay of zeros being zero.
    expected[0], expected[9] = -0.5 * 1.9 * 2, -0.5 * 1.9
    weight = step.net.weight
    assert isinstance(weight, Tensor)
    torch.testing.assert_close(weight.detach(), expected)
    # Weights and momentum, four images of 3 x 32 x 32, four labels; no gradients.
    size = 4 * (2 * PARAMETERS["DGL"] + 4 * 3 * 32 * 32) + 4 * 8
    assert step.resident_bytes() == size


def test_another_network_is_refused(code: OfficialCode) -> None:
    code.module.PARAMETERS["BP"] = 7
    with pytest.raises(UsageError, match=r"has 7 parameters, ours 466,906"):
        OfficialStep(recipe("bp"), code, CPU)


def test_a_module_of_the_same_name_is_no_checkout(code: OfficialCode, tmp_path: Path) -> None:
    with pytest.raises(FailureError, match="has its name"):
        OfficialCode(checkout(tmp_path / "another"), CPU)


def call(*arguments: str) -> int:
    before, sys.argv = sys.argv, ["locbench", "bench", "--device", "cpu", *arguments]
    try:
        main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    finally:
        sys.argv = before
    return 0


def test_the_command_shows_both_and_their_ratio(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, folder = tmp_path / "bench.csv", checkout(tmp_path / "AugLocal")
    words = ["--against", str(folder), "--method", "bp", "--batch-size", "2", "--threads", "1"]
    assert call(*words, "--steps", "1", "--rounds", "3", "--json", "--out", str(out)) == 0
    found = json.loads(capsys.readouterr().out)
    lines = {(line["method"], line["engine"]): line for line in found["lines"]}
    assert list(lines) == [("bp", "official"), ("bp", "eager")]
    theirs, ours = lines.values()
    pairs = zip(theirs["rounds"], ours["rounds"], strict=True)
    least, median, most = sorted(one / other for one, other in pairs)
    assert ours["official"] == {
        "milliseconds": theirs["milliseconds"],
        "speedup": {"median": median, "least": least, "most": most},
    }
    assert theirs["official"] is None
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert [row["official_speedup"] for row in rows] == ["", str(median)]
    assert found["data"] is None
    assert found["official_commit"] == ""


OTHER = RESNET.replace("local_module_num, ", "modules, ")


@pytest.mark.parametrize(
    ("resnet", "error", "says"),
    [
        (RESNET.replace("def resnet32", "def resnet23"), UsageError, "has no resnet32"),
        (OTHER, UsageError, "is not the official one"),
        (RESNET.replace(" zeros\n", " ones\n"), FailureError, "cannot be built"),
        ("1 = 2\n", FailureError, "cannot be imported: SyntaxError"),
    ],
)
def test_a_folder_with_something_else(
    resnet: str, error: type[LocbenchError], says: str, code: OfficialCode
) -> None:
    for name in ("networks.resnet", "networks"):
        del sys.modules[name]
    folder = checkout(code.folder, resnet)
    with pytest.raises(error, match=says) as raised:
        OfficialStep(recipe("bp"), OfficialCode(folder, CPU), CPU)
    assert raised.value.remedy


def test_one_message_says_what_cannot_be_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkout(tmp_path, "import no_such_module\n")
    assert call("--against", str(folder)) == 1
    said = capsys.readouterr()
    assert "No module named 'no_such_module'" in said.err
    assert "Traceback" not in said.err + said.out
    assert said.out == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--against", "/nowhere"], "no folder"),
        (["--against", "/"], "no checkout"),
        (["--against", "CHECKOUT", "--method", "pgl+dgl"], "has no resnet32 pgl+dgl"),
        (["--against", "CHECKOUT", "--profile"], "--against"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(checkout(tmp_path))
    assert call(*(folder if word == "CHECKOUT" else word for word in words)) == 2
    assert says in capsys.readouterr().err
