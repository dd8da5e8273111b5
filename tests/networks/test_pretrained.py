"""Pretrained weights: files of both namings load, everything else fails with a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import timm
import torch
from safetensors.torch import save_file
from specimens import CLASSES, recipe_of
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from locbench.data.images import load
from locbench.errors import FailureError
from locbench.files import digest
from locbench.networks.chain import Chain, build_chain
from locbench.networks.pretrained import load_pretrained
from locbench.training.run import Run

State = dict[str, Tensor]
TINY = "swin_tiny_patch4_window7_224"
MICRO: dict[str, Any] = {
    "img_size": 64,
    "embed_dim": 24,
    "depths": (2, 2, 6, 2),
    "num_heads": (1, 2, 4, 8),
}


@cache
def model(classes: int = 21, window: int = 4) -> SwinTransformer:
    """Return timm's network of swin-micro's shape.

    No parameter is as it is drawn, biases and norms included.
    """
    torch.manual_seed(classes)
    made = SwinTransformer(**MICRO, window_size=window, num_classes=classes).eval()
    with torch.no_grad():
        for each in made.parameters():
            each.add_(0.05 * torch.randn_like(each))
    return made


def original(state: State) -> State:
    """Return a state in the naming of 2021, with merged ends of stages and derived buffers."""
    renamed: State = {}
    for name, each in state.items():
        moved = re.sub(
            r"layers\.(\d)\.downsample",
            lambda found: f"layers.{int(found[1]) - 1}.downsample",
            name,
        )
        renamed[moved.replace("head.fc.", "head.")] = each
    for stage, side in ((0, 16), (1, 8), (2, 4)):
        renamed[f"layers.{stage}.blocks.0.attn.relative_position_index"] = torch.zeros(
            16, 16, dtype=torch.long
        )
        renamed[f"layers.{stage}.blocks.1.attn_mask"] = torch.zeros((side // 4) ** 2, 16, 16)
    return renamed


def fresh(classes: int = CLASSES, network: str = "swin-micro", side: int = 64) -> Chain:
    torch.manual_seed(1)
    return build_chain(network, classes, side)


def written(path: Path, state: Any) -> Path:
    if path.suffix == ".safetensors":
        save_file({name: each.contiguous() for name, each in state.items()}, path)
    else:
        torch.save(state, path)
    return path


FORMS: list[tuple[str, Callable[[State], Any]]] = [
    ("timm.safetensors", lambda state: state),
    ("original.safetensors", original),
    ("timm.pt", lambda state: state),
    ("original.pth", lambda state: {"model": original(state)}),
    ("wrapped.pth", lambda state: {"state_dict": state}),
    (
        "headless.pt",
        lambda state: {name: each for name, each in state.items() if not name.startswith("head.")},
    ),
    (
        "headless-original.pt",
        lambda state: {k: v for k, v in original(state).items() if not k.startswith("head.")},
    ),
]


@pytest.mark.parametrize(("name", "form"), FORMS, ids=[name for name, _ in FORMS])
def test_weights_of_a_file(name: str, form: Callable[[State], Any], tmp_path: Path) -> None:
    theirs = model()
    path = written(tmp_path / name, form(theirs.state_dict()))
    chain = fresh().eval()
    head = {name: each.clone() for name, each in chain.head.head.named_parameters()}  # type: ignore[union-attr, operator]
    load_pretrained(chain, "swin-micro", path)
    for name, each in chain.head.head.named_parameters():  # type: ignore[union-attr, operator, assignment]
        assert torch.equal(each, head[name])  # drawn anew, whatever the file has
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        x = images
        for unit in chain.units:
            x = unit(x)
        features = chain.head.norm(x.permute(0, 2, 3, 1))  # type: ignore[operator, union-attr]
        assert torch.equal(features, theirs.forward_features(images))
        expected = features.mean(dim=(1, 2)) @ head["fc.weight"].T + head["fc.bias"]
        torch.testing.assert_close(chain(images), expected)


def test_a_file_of_as_many_classes_keeps_the_fresh_head_too(tmp_path: Path) -> None:
    path = written(tmp_path / "same.pt", model(CLASSES).state_dict())
    chain = fresh()
    before = chain.head.head.fc.weight.clone()  # type: ignore[union-attr, operator]
    load_pretrained(chain, "swin-micro", path)
    assert torch.equal(chain.head.head.fc.weight, before)  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize("side", [32, 128])
def test_weights_fit_other_image_sizes(side: int, tmp_path: Path) -> None:
    """At 32 pixels the last windows are of 2 and 1 tokens, and position biases are resized."""
    path = written(tmp_path / "micro.safetensors", model().state_dict())
    chain = fresh(side=side).eval()
    load_pretrained(chain, "swin-micro", path)
    theirs = SwinTransformer(**{**MICRO, "img_size": side}, window_size=4, num_classes=21).eval()
    from timm.models.swin_transformer import checkpoint_filter_fn

    theirs.load_state_dict(checkpoint_filter_fn(dict(model().state_dict()), theirs))
    images = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        x = images
        for unit in chain.units:
            x = unit(x)
        assert torch.equal(chain.head.norm(x.permute(0, 2, 3, 1)), theirs.forward_features(images))  # type: ignore[operator, union-attr]


def test_position_biases_of_another_window_are_resized(tmp_path: Path) -> None:
    """A constant table stays constant, whatever its size."""
    state = dict(model(window=8).state_dict())
    for name in [each for each in state if each.endswith("relative_position_bias_table")]:
        state[name] = torch.full_like(state[name], 0.25)
    chain = fresh()
    load_pretrained(chain, "swin-micro", written(tmp_path / "wide.pt", state))
    tables = {
        name: each
        for name, each in chain.named_parameters()
        if name.endswith("relative_position_bias_table")
    }
    assert len(tables) == 12
    assert tables["units.1.layers.0.attn.relative_position_bias_table"].shape == (49, 1)
    for name, each in tables.items():
        torch.testing.assert_close(each, torch.full_like(each, 0.25), msg=name)


def state_of(name: str) -> State:
    return {key: each.zero_() for key, each in timm.create_model(name).state_dict().items()}


def without(name: str) -> Callable[[], State]:
    return lambda: {key: each for key, each in model().state_dict().items() if key != name}


def changed(name: str, to: Tensor) -> Callable[[], State]:
    return lambda: dict(model().state_dict()) | {name: to}


WRONG: list[tuple[str, str, Callable[[], Any]]] = [
    ("resnet", "swin-micro", lambda: state_of("resnet18")),
    ("vit", "swin-micro", lambda: state_of("vit_tiny_patch16_224")),
    (
        "beit",
        "swin-micro",
        lambda: {"blocks.0.attn.relative_position_bias_table": torch.zeros(732, 12)},
    ),
    ("tiny", "swin-micro", lambda: state_of(TINY)),
    ("micro", "swin-tiny", lambda: model().state_dict()),
    (
        "deeper",
        "swin-micro",
        lambda: SwinTransformer(**{**MICRO, "depths": (2, 2, 18, 2)}, window_size=4).state_dict(),
    ),
    ("micro in deeper", "swin-micro-deep", lambda: model().state_dict()),
    ("nothing", "swin-micro", dict),
    ("a weight less", "swin-micro", without("layers.2.blocks.3.mlp.fc1.weight")),
    ("a weight more", "swin-micro", changed("layers.0.extra.weight", torch.zeros(3))),
    ("flat patches", "swin-micro", changed("patch_embed.proj.weight", torch.zeros(24, 48))),
    (
        "flat table",
        "swin-micro",
        changed("layers.0.blocks.0.attn.relative_position_bias_table", torch.zeros(49)),
    ),
    (
        "odd table",
        "swin-micro",
        changed("layers.0.blocks.0.attn.relative_position_bias_table", torch.zeros(50, 1)),
    ),
    ("numbered", "swin-micro", lambda: {0: torch.zeros(3)}),
]


@pytest.mark.parametrize(("name", "network", "state"), WRONG, ids=[name for name, *_ in WRONG])
def test_weights_of_another_model(
    name: str, network: str, state: Callable[[], Any], tmp_path: Path
) -> None:
    side = 224 if network == "swin-tiny" else 64
    chain, path = fresh(network=network, side=side), written(tmp_path / "other.pt", state())
    before = {key: each.clone() for key, each in chain.state_dict().items()}
    with pytest.raises(FailureError) as failed:
        load_pretrained(chain, network, path)
    one_failure(failed.value, path)
    assert "--weights" in failed.value.remedy
    assert all(torch.equal(each, before[key]) for key, each in chain.state_dict().items())


def test_base_weights_into_tiny(tmp_path: Path) -> None:
    path = written(tmp_path / "base.safetensors", state_of("swin_base_patch4_window12_384"))
    with torch.device("meta"):
        chain = build_chain("swin-tiny", CLASSES, 224)
    with pytest.raises(FailureError, match=r"another network than Swin-T") as failed:
        load_pretrained(chain, "swin-tiny", path)
    one_failure(failed.value, path)


def one_failure(error: FailureError, path: Path) -> None:
    """Check what is printed: one line that names the file, of a length that can be read."""
    message = str(error).removesuffix(error.remedy).strip()
    assert str(path) in message
    assert len(message.splitlines()) == 1, message
    assert len(message) - len(str(path)) < 300, message
    assert error.remedy


def spoilt(path: Path, kind: str) -> Path:
    whole = written(path, model().state_dict()).read_bytes() if kind != "missing" else b""
    if kind == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "text":
        path.write_text("These are not the weights you are looking for.\n" * 5, encoding="utf-8")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "missing", "folder"])
def test_spoilt_files(kind: str, suffix: str, tmp_path: Path) -> None:
    path = spoilt(tmp_path / f"weights{suffix}", kind)
    with pytest.raises(FailureError) as failed:
        load_pretrained(fresh(), "swin-micro", path)
    one_failure(failed.value, path)
    assert "weights_only" not in str(failed.value)  # torch's advice to run what is in the file
    assert "--weights" in failed.value.remedy


@pytest.mark.parametrize(
    "content", [[1, 2], torch.zeros(3), {"model": [1]}, {"epoch": 3}, "text"], ids=str
)
def test_a_torch_file_without_a_state(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(FailureError, match="holds no state dict") as failed:
        load_pretrained(fresh(), "swin-micro", path)
    one_failure(failed.value, path)


class Surprise:
    """Does harm when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harm"),))


def test_no_code_of_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "surprise.pt"
    torch.save({"model": Surprise()}, path)
    with pytest.raises(FailureError):
        load_pretrained(fresh(), "swin-micro", path)
    assert not (tmp_path / "harm").exists()


# The hub


@pytest.mark.parametrize(
    "error",
    [
        OSError("no network"),
        RuntimeError("Invalid pretrained tag\nand more"),
        ValueError(""),
        TimeoutError(),
    ],
)
def test_without_a_network_the_hub_fails_with_a_remedy(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> nn.Module:
        raise error

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(
        FailureError, match=r"swin_tiny_patch4_window7_224.ms_in1k could not be fetched"
    ) as failed:
        load_pretrained(fresh(), "swin-tiny")
    assert len(str(failed.value).removesuffix(failed.value.remedy).strip().splitlines()) == 1
    assert "--weights" in failed.value.remedy
    assert "random" in failed.value.remedy


def test_the_hub_is_asked_for_the_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []
    theirs = SwinTransformer(
        embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), num_classes=1000
    )

    def give(name: str, pretrained: bool = False, **_: object) -> nn.Module:
        asked.append((name, pretrained))
        return theirs

    monkeypatch.setattr(timm, "create_model", give)
    chain = fresh(network="swin-tiny", side=224)
    load_pretrained(chain, "swin-tiny")
    assert asked == [("swin_tiny_patch4_window7_224.ms_in1k", True)]
    expected = theirs.layers[3].blocks[1].mlp.fc2.weight
    assert torch.equal(chain.units[12].layers[0].mlp.fc2.weight, expected)  # type: ignore[index, union-attr]


@pytest.mark.parametrize(
    ("network", "weights"),
    [
        ("swin-tiny", "swin_tiny_patch4_window7_224.ms_in1k"),
        ("swin-base", "swin_base_patch4_window12_384.ms_in1k"),
        ("swin-large", "swin_large_patch4_window7_224.ms_in22k_ft_in1k"),
    ],
)
def test_timm_knows_the_published_weights(network: str, weights: str) -> None:
    from locbench.spec.networks import NETWORKS

    info = NETWORKS[network].transformer
    assert info is not None
    assert info.weights == weights
    assert timm.is_model_pretrained(weights)
    size = timm.get_pretrained_cfg(weights)
    assert size is not None
    assert size.input_size == (3, info.side, info.side)


def test_a_network_without_published_weights() -> None:
    with pytest.raises(FailureError, match="Swin-micro has no pretrained weights") as failed:
        load_pretrained(fresh(), "swin-micro")
    assert "--weights" in failed.value.remedy


# In a run


def test_a_run_starts_from_the_weights_of_a_file(tmp_path: Path) -> None:
    """Auxiliary nets and classifier as from scratch, the backbone as in the file.

    In float64 and on channels-last.
    """
    path = written(tmp_path / "micro.pt", model().state_dict())
    chosen = recipe_of("swin-reconstruction", {}, network="swin-micro", modules=4, drop_path=0.1)
    pretrained = msgspec.structs.replace(chosen, init="pretrained", weights=digest(path))
    split = load("digits", Path("unused"), limit=44, test_limit=40)
    found = Run(pretrained, split, dtype=torch.float64, weights=path).learner.state_dict()
    plain = Run(chosen, split, dtype=torch.float64).learner.state_dict()
    own = ("independents.", "chain.head.head.")
    for name, each in plain.items():
        assert torch.equal(each, found[name]) == name.startswith(own), name
    expected = model().layers[1].downsample.reduction.weight.double()
    assert torch.equal(found["chain.units.2.layers.1.reduction.weight"], expected)


def test_digest_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    path.write_bytes(b"abc")
    assert digest(path) == "ba7816bf8f01cfea"  # SHA-256 of FIPS 180-2's first example
    with pytest.raises(FailureError, match="cannot be read") as failed:
        digest(tmp_path / "none.pt")
    assert "--weights" in failed.value.remedy
