"""Networks traced as graphs, and cut after their blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.models import get_notrace_functions, get_notrace_modules
from torch import Tensor, fx, nn

STAGES = re.compile(r"blocks\d*|layers|stages|(layer|stage|block|s)\d+")
"""Names of what holds a network's blocks in timm."""

LOOKED_FOR = "blocks, layers, stages, or numbered ones such as layer1, stage1 and s1"
"""The same in words."""


@dataclass(frozen=True)
class Block:
    """A block of a network.

    Attributes:
        path: its name as a submodule.
        stage: 1-based number of the list that holds it.
    """

    path: str
    stage: int


def blocks_of(model: nn.Module) -> list[Block]:
    """Return a network's blocks in order.

    They are what its stages hold: modules with parameters, and none of PyTorch's own layers.
    """
    paths = [path for path in _paths(model, "", False) if _is_block(model.get_submodule(path))]
    stages = list(dict.fromkeys(path.rpartition(".")[0] for path in paths))
    return [Block(path, 1 + stages.index(path.rpartition(".")[0])) for path in paths]


def _is_block(module: nn.Module) -> bool:
    own = type(module).__module__.startswith("torch.nn")
    return not own and any(True for _ in module.parameters())


def _paths(module: nn.Module, prefix: str, held: bool) -> Iterator[str]:
    """Yield the innermost modules that lists named like stages hold.

    Args:
        module: where to look.
        prefix: its name with a dot behind.
        held: whether it is such a list.
    """
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        a_list = isinstance(child, nn.Sequential | nn.ModuleList)
        if STAGES.fullmatch(name) or (held and a_list):
            yield from _paths(child, f"{path}.", True)
        else:
            inner = list(_paths(child, f"{path}.", False))
            yield from inner or ([path] if held else [])


class _Forward(nn.Module):
    """A network as a function of images alone, its other arguments at their defaults."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)  # type: ignore[no-any-return]


class _Tracer(fx.Tracer):
    """Keeps blocks whole, and what timm says cannot be traced."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self._whole = {f"network.{block.path}" for block in blocks}
        self._untraceable = tuple(get_notrace_modules())

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        whole = module_qualified_name in self._whole or isinstance(m, self._untraceable)
        return whole or super().is_leaf_module(m, module_qualified_name)


class BlockGraph:
    """The operations of a network in order, its blocks as one operation each.

    Args:
        network: of images, B x 3 x H x W, to class scores.
        blocks: which of its submodules stay whole.
    """

    def __init__(self, network: nn.Module, blocks: Sequence[Block]) -> None:
        self._root, self.blocks = _Forward(network), tuple(blocks)
        self._nodes = list(_Tracer(blocks).trace(self._root).nodes)
        self._of_images: set[fx.Node] = set()
        for node in self._nodes:
            if node.op == "placeholder" or self._of_images & set(node.all_input_nodes):
                self._of_images.add(node)

    @property
    def text(self) -> str:
        """The operations in words, for comparison."""
        return "\n".join(node.format_node() or "output" for node in self._nodes)

    def shapes(self, images: Tensor) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor that an operation gives for images, by its name."""
        recorder = _Recorder(fx.GraphModule(self._root, self._graph_of(self._nodes)))
        with torch.no_grad():
            recorder.run(images)
        return recorder.shapes

    def cuts(self) -> list[tuple[str, Block | None]]:
        """Return the operations after which one tensor alone is needed, with their blocks.

        The first is what the first block sees, of no block.
        """
        blocks = {f"network.{block.path}": block for block in self.blocks}
        places = {node: place for place, node in enumerate(self._nodes)}
        last = {node: max((places[user] for user in node.users), default=-1) for node in places}
        found: list[tuple[str, Block | None]] = []
        for place, node in enumerate(self._nodes):
            block = blocks.get(str(node.target)) if node.op == "call_module" else None
            if block is None:
                continue
            if block is self.blocks[0]:
                source = node.all_input_nodes[0]
                if source.op != "placeholder" and self._alone(source, places[source], last):
                    found.append((source.name, None))
            if self._alone(node, place, last):
                found.append((node.name, block))
        return found

    def _alone(self, node: fx.Node, place: int, last: dict[fx.Node, int]) -> bool:
        needed = [each for each in self._nodes[: place + 1] if last[each] > place]
        return [each for each in needed if each in self._of_images] == [node]

    def pieces(self, cuts: Sequence[str]) -> list[nn.Module]:
        """Return the network in pieces that run one after the other.

        A piece that is a block is that block. Any other has the submodules and parameters that it
        needs under the network's own names.

        Args:
            cuts: names of the operations that end all pieces but the last.
        """
        pieces: list[nn.Module] = []
        begin, source = 1, self._nodes[0]
        ends = [next(n for n in self._nodes if n.name == name) for name in cuts]
        for end in [*ends, self._nodes[-1]]:
            stop = self._nodes.index(end) + 1
            graph = self._graph_of(self._nodes[begin:stop], source)
            pieces.append(_alone_in(graph, self._root.network))
            begin, source = stop, end
        return pieces

    def _graph_of(self, nodes: Sequence[fx.Node], source: fx.Node | None = None) -> fx.Graph:
        """Return a graph of some operations, with the constants that they need.

        Args:
            nodes: in order.
            source: what they work on; None for all of the network, under its root's names.
        """
        graph = fx.Graph()
        copies: dict[fx.Node, Any] = {} if source is None else {source: graph.placeholder("x")}

        def copied(node: fx.Node) -> fx.Node:
            if node not in copies:
                copies[node] = graph.node_copy(node, copied)
                if source is not None and node.op in ("call_module", "get_attr"):
                    copies[node].target = str(node.target).removeprefix("network.")
            found: fx.Node = copies[node]
            return found

        for node in nodes:
            if node in self._of_images:
                copied(node)
        if nodes[-1].op != "output":
            graph.output(copies[nodes[-1]])
        return graph


def _alone_in(graph: fx.Graph, network: nn.Module) -> nn.Module:
    """Return the one layer that a graph runs, else the graph as a module.

    Equal layers are then of one class, which is compiled and traced once.
    """
    source, *nodes, _ = graph.nodes
    if len(nodes) == 1 and nodes[0].op == "call_module" and nodes[0].args == (source,):
        return network.get_submodule(str(nodes[0].target))
    return fx.GraphModule(network, graph)


class _Recorder(fx.Interpreter):
    """Runs a graph and notes shapes."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n.name] = tuple(result.shape)
        return result
