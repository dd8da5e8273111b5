"""What every method and every auxiliary net must do."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from typing import cast

import msgspec
import torch
from torch import Tensor, nn

from locbench.contract.findings import Breach, Check, gradients, random_batch
from locbench.learning.auxiliary.branch import AttachPoint, AuxiliaryNet, Targets
from locbench.learning.auxiliary.hpff import PatchFusion
from locbench.learning.learner import Learner, build_learner
from locbench.learning.modules import Auxiliary, build_branch
from locbench.networks.chain import build_chain
from locbench.networks.flops import forward_flops
from locbench.spec.components import Branch, Cascade, Checkpointed, Patches
from locbench.spec.recipe import Recipe
from locbench.training.optimizer import make_optimizer

BATCH = 4


class MethodContract:
    """A recipe's method and network, held against what training asks of them.

    Args:
        recipe: what would be trained.
        classes: number of classes.
        side: of the images in pixels.
    """

    def __init__(self, recipe: Recipe, classes: int, side: int) -> None:
        self.recipe, self.classes, self.side = recipe, classes, side
        self.net: Learner
        self.before: dict[str, Tensor] = {}

    def checks(self) -> Iterator[Check]:
        """Yield all checks, each of which may need those before it."""
        yield Check("its options are read back as they were written", self._encodes)
        yield from self.step_checks()
        yield Check("its parameters and operations can be counted", self._counts)

    def step_checks(self) -> Iterator[Check]:
        """Yield the checks of training steps."""
        yield Check("it is built", self._builds, basic=True)
        yield Check("a step runs and every loss is a finite number", self._steps, basic=True)
        yield Check("every parameter has a finite gradient", self._trains)
        yield Check("repeated, a step has the same gradients", self._repeats, basic=True)
        yield Check("gradients of auxiliary nets stay in their own module", self._auxiliaries)
        yield Check("no module learns from a later one that may not reach it", self._routing)
        yield Check("a step of a global phase runs", self._guided)
        yield Check("saved and loaded, it goes on with the same numbers", self._continues)

    def _encodes(self) -> None:
        again = msgspec.json.decode(msgspec.json.encode(self.recipe), type=Recipe)
        if again != self.recipe or again.key != self.recipe.key:
            raise Breach(f"{self.recipe.composition} is read back as {again.composition}")

    def _builds(self) -> None:
        self.net = build_learner(self.recipe, self.classes, self.side)

    def _steps(self) -> None:
        self.before = self.stepped(self.net)

    def stepped(self, net: Learner, seed: int = 0) -> dict[str, Tensor]:
        """Return the gradients of one step; dropout draws the same every time.

        Raises:
            Breach: losses or class scores are not what a step returns.
        """
        net.zero_grad()
        torch.manual_seed(3)
        output = net.step(*random_batch(BATCH, self.side, self.classes, seed))
        if output.losses.shape != (net.modules_count,):
            raise Breach(f"losses are {tuple(output.losses.shape)} of {net.modules_count} modules")
        if not output.losses.isfinite().all():
            raise Breach(f"losses of its modules are {output.losses.tolist()}")
        if output.logits.shape != (BATCH, self.classes):
            raise Breach(f"class scores are {tuple(output.logits.shape)}")
        return gradients(net)

    def _trains(self) -> None:
        silent = idle(self.net)
        for name, parameter in self.net.named_parameters():
            if parameter.grad is None and parameter.requires_grad and not name.startswith(silent):
                raise Breach(f"{name} has no gradient")
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                raise Breach(f"the gradient of {name} is not finite")

    def _repeats(self) -> None:
        for name, each in self.stepped(self.net).items():
            if not torch.equal(each, self.before[name]):
                raise Breach(f"{name} has another gradient; let state be in buffers of the net")

    def _auxiliaries(self) -> None:
        """Back-propagate each auxiliary loss alone, while the graphs of all modules are there."""
        net = self.net
        images, targets = random_batch(BATCH, self.side, self.classes)
        graphs = [images]  # kept, or what leads into them would fail in its own way
        for index in range(net.modules_count - 1):
            h, features = net.run_module_with_features(index, graphs[-1])
            graphs.append(h)
            for level in (net.independents, net.cascades):
                if str(index) in level:
                    auxiliary = cast(Auxiliary, level[str(index)])
                    net.zero_grad()
                    leaf = h.detach().requires_grad_()
                    auxiliary.backward(leaf, targets.with_features(features))
                    self._refuse_reach(auxiliary, index)

    def _refuse_reach(self, auxiliary: nn.Module, index: int) -> None:
        own = {id(parameter) for parameter in auxiliary.parameters()}
        for name, parameter in self.net.named_parameters():
            reached = parameter.grad is not None and bool(parameter.grad.any())
            if reached and id(parameter) not in own:
                raise Breach(f"the loss of module {index + 1} reaches {self._module_of(name)}")
        shared = own & {id(parameter) for parameter in self.net.chain.parameters()}
        if shared:
            names = [name for name, each in self.net.named_parameters() if id(each) in shared]
            raise Breach(f"the net of module {index + 1} shares {self._module_of(names[0])}")

    def _module_of(self, name: str) -> str:
        """Return a parameter's name with the module that it belongs to."""
        kind, number, *_ = name.removeprefix("chain.").split(".")
        if kind == "units":
            ranges = self.net.partition.ranges
            index = next(index for index, units in enumerate(ranges) if int(number) in units)
            return f"{name}, of module {index + 1}"
        return name

    def _routing(self) -> None:
        """Change the last module, and compare the gradients of those that it may not reach."""
        net, top = self.net, self.net.modules_count - 1
        saved = deepcopy(net.state_dict())
        with torch.no_grad():
            for each in net.module_parameters(top):
                each.mul_(1.1).add_(0.05)
        after = self.stepped(net)
        net.load_state_dict(saved)
        for index in range(top - reach_of(net)):
            own = tuple(f"chain.units.{unit}." for unit in net.partition.ranges[index])
            for name, each in self.before.items():
                if name.startswith(own) and not torch.equal(each, after[name]):
                    raise Breach(
                        f"module {top + 1} changes the gradient of {self._module_of(name)}"
                    )

    def _guided(self) -> None:
        self.net.zero_grad()
        output = self.net.step(*random_batch(BATCH, self.side, self.classes), guided=True)
        if not output.losses.isfinite().all():
            raise Breach(f"losses of its modules are {output.losses.tolist()}")

    def _counts(self) -> None:
        counted = self.net.parameter_counts()
        chain = build_chain(self.recipe.network, self.classes, self.side, self.recipe.drop_path)
        primary = sum(parameter.numel() for parameter in chain.parameters())
        if counted["primary"] != primary:
            raise Breach(f"the network has {primary} parameters and {counted['primary']} here")
        for index, branch in local_nets(self.net):
            spec = self.net.chain.specs[self.net.partition.ends[index]]
            patches = self.net.composition.patches
            side = spec.side // (patches.n if patches else 1)
            refuse_uncountable(branch, (spec.channels, side, side))

    def _continues(self) -> None:
        net, again = self.net, build_learner(self.recipe, self.classes, self.side)
        optimizers = [make_optimizer(each, self.recipe) for each in (net, again)]
        self.stepped(net)
        optimizers[0].step()
        with torch.no_grad():
            for each in again.parameters():
                each.zero_()
        again.load_state_dict(net.state_dict())
        # By itself it shares the momentum.
        optimizers[1].load_state_dict(deepcopy(optimizers[0].state_dict()))
        for learner, optimizer in zip((net, again), optimizers, strict=True):
            self.stepped(learner, seed=1)
            optimizer.step()
        states = zip(net.state_dict().items(), again.state_dict().items(), strict=True)
        for (name, left), (_, right) in states:
            if not torch.equal(left, right):
                raise Breach(f"{name} differs after the next step")


def reach_of(net: Learner) -> int:
    """Return how many modules back a module's loss may reach."""
    routing = net.composition.routing
    if isinstance(routing, Checkpointed):
        return net.modules_count - 1
    return int(isinstance(routing, Cascade))


def idle(net: Learner) -> tuple[str, ...]:
    """Return the names of the auxiliary nets whose weight is 0 at an end.

    What has no weight is not computed.
    """
    silent = {
        end
        for branch in net.composition.branches
        for end in (0, -1)
        if branch.weight and branch.weight[end] == 0
    }
    kinds = {"independents": net.independents, "cascades": net.cascades}
    return tuple(
        f"{kind}.{list(nets)[end]}." for kind, nets in kinds.items() if nets for end in silent
    )


def local_nets(net: Learner) -> Iterator[tuple[int, AuxiliaryNet]]:
    """Yield the innermost auxiliary nets that have a forward pass, with their modules' index."""
    for level in (net.independents, net.cascades):
        for index, auxiliary in level.items():
            for branch in cast(Auxiliary, auxiliary).branches:
                inner = branch.branch if isinstance(branch, PatchFusion) else branch
                assert isinstance(inner, AuxiliaryNet)
                if type(inner).forward != AuxiliaryNet.forward:
                    yield int(index), inner


def refuse_uncountable(branch: AuxiliaryNet, shape: tuple[int, ...]) -> None:
    """Count a net's operations of one map, on the meta device.

    Raises:
        Breach: it has weights of products and none is counted.
    """
    counted = forward_flops(lambda: deepcopy(branch).to("meta"), shape)
    weights = [name for name, each in branch.named_parameters() if each.dim() > 1]
    if weights and not counted.flops >= counted.macs > 0:
        raise Breach(f"it has the weight {weights[0]} and no operation is counted of it")


def attach_points(network: str, classes: int, side: int) -> list[AttachPoint]:
    """Return where auxiliary nets hang if every local layer of a network is a module."""
    with torch.device("meta"):
        specs = build_chain(network, classes, side).specs
    ends = tuple(range(len(specs)))
    return [
        AttachPoint(
            layer=layer,
            module=layer,
            modules=len(specs),
            ends=ends,
            specs=specs,
            classes=classes,
            image_side=side,
        )
        for layer in ends[:-1]
    ]


class BranchContract:
    """An auxiliary net at one place of a network.

    Args:
        options: of the net.
        point: where it hangs.
        patches: patches along each side that it sees one at a time.
    """

    def __init__(self, options: Branch, point: AttachPoint, patches: int = 1) -> None:
        self.options, self.point, self.patches = options, point, patches
        self.net: AuxiliaryNet
        self.once: dict[str, Tensor] = {}

    def checks(self) -> Iterator[Check]:
        """Yield all checks, each of which may need those before it."""
        place = f"after layer {self.point.layer + 1}"
        yield Check(f"it is built {place}", self._builds, basic=True)
        yield Check(f"its loss {place} is one finite number", partial(self._learns, 2.0), True)
        yield Check(f"its features and all its parameters have gradients {place}", self._reaches)
        yield Check(f"its gradients {place} follow its weight", self._follows)

    def _builds(self) -> None:
        net = build_branch(self.options, self.point)
        self.net = PatchFusion(net, Patches(n=self.patches)) if self.patches > 1 else net

    def _learns(self, weight: float, *, gradient: bool = True) -> None:
        spec, source = self.point.spec, self.point.input_features
        torch.manual_seed(5)
        self.features = torch.randn(BATCH, spec.channels, spec.side, spec.side)
        before = torch.randn(BATCH, source.channels, source.side, source.side)
        self.features.requires_grad_(gradient)
        targets: Targets = random_batch(BATCH, self.point.image_side, self.point.classes)[1]
        self.net.zero_grad()
        loss = self.net.backward(self.features, targets.with_features(before), weight)
        if loss.shape != () or not loss.isfinite():
            raise Breach(f"its loss is {loss.tolist()}")
        if loss.requires_grad:
            raise Breach("its loss comes with its graph, whose memory is then not free")

    def _reaches(self) -> None:
        if self.features.grad is None or not self.features.grad.any():
            raise Breach("the features that it sees have no gradient")
        for name, parameter in self.net.named_parameters():
            if parameter.requires_grad and parameter.grad is None:
                raise Breach(f"{name} has no gradient")
        self.once = gradients(self.net)

    def _follows(self) -> None:
        self._learns(4.0, gradient=False)
        for name, twice in gradients(self.net).items():
            if not torch.allclose(twice, 2 * self.once[name], rtol=1e-4, atol=1e-6):
                raise Breach(f"twice the weight does not give twice the gradient of {name}")
