"""Statistics of made-up timings, counted bytes and operations, and the command on the digits. No
time is judged.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from locbench.bench.benchmark import Benchmark, Lengths
from locbench.bench.cases import (
    ENGINES,
    Case,
    cases_of,
    parse_engines,
    published_overheads,
    runnable,
    standard_cases,
)
from locbench.bench.data_path import Batched
from locbench.bench.profile import shares_of
from locbench.bench.results import (
    Bound,
    DroppedError,
    Found,
    Line,
    Prepared,
    Speeds,
    Spread,
    interleaved,
    mixed,
    ratios,
    steps_per_round,
)
from locbench.bench.roofline import Ceiling, Operation, Operations, trace
from locbench.bench.summary import Context, Timed, lines_of
from locbench.bench.worker import Worker
from locbench.cli import main
from locbench.errors import LocbenchError, UsageError
from locbench.results.record import Provenance
from locbench.spec.table_files import load_table
from locbench.terminal.bench import csv_text, plain_line

CPU = torch.device("cpu")
DIGITS = {"dataset": "digits", "network": "resnet8", "batch_size": 8}


def cases(method: str = "dgl", *words: str, **settings: Any) -> list[Case]:
    return cases_of({**DIGITS, "method": method, **settings}, words)


class TestTiming:
    def test_every_round_has_every_turn_in_order(self) -> None:
        seen: list[str] = []
        turns: dict[str, Callable[[], float]] = {
            name: (lambda name=name: seen.append(name) or len(seen))
            for name in "abc"  # type: ignore[func-returns-value, misc]
        }
        found: dict[str, list[float]] = {}
        interleaved(2, turns, found)
        assert "".join(seen) == "abcabc"
        assert found == {"a": [1, 4], "b": [2, 5], "c": [3, 6]}

    def test_who_drops_out_keeps_what_was_timed_and_the_others_go_on(self) -> None:
        left = iter([1.0, 2.0])

        def failing() -> float:
            try:
                return next(left)
            except StopIteration:
                raise DroppedError from None

        found: dict[str, list[float]] = {}
        interleaved(4, {"a": failing, "b": lambda: 7.0}, found)
        assert found == {"a": [1.0, 2.0], "b": [7.0] * 4}

    def test_an_interrupt_keeps_the_rounds_before_it(self) -> None:
        def told(number: int) -> None:
            if number == 3:
                raise KeyboardInterrupt

        found: dict[str, list[float]] = {}
        with pytest.raises(KeyboardInterrupt):
            interleaved(9, {"a": lambda: 1.0}, found, told)
        assert found == {"a": [1.0, 1.0]}

    def test_numbers(self) -> None:
        assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
        assert Spread.of([4.0, 1.0]) == Spread(2.5, 1.0, 4.0)
        assert ratios([2.0, 9.0, 5.0], [1.0, 3.0]) == [2.0, 3.0]
        assert mixed([1.0, 2.0], [11.0, 12.0], 0.2) == pytest.approx([3.0, 4.0])

    @pytest.mark.parametrize(
        ("step", "seconds", "rounds", "steps"), [(0.1, 10, 5, 20), (3.0, 10, 5, 1), (9, 5, 5, 1)]
    )
    def test_steps_per_round(self, step: float, seconds: float, rounds: int, steps: int) -> None:
        assert steps_per_round(step, seconds, rounds) == steps


def line_of(found: list[Line], method: str, engine: str, phase: str = "") -> Line:
    return next(
        each for each in found if (each.method, each.engine, each.phase) == (method, engine, phase)
    )


class TestLines:
    def found(self) -> list[Line]:
        bp, dgl = cases("dgl")
        timed = [
            Timed(bp, "reference", None, 1, [10.0, 20.0, 30.0]),
            Timed(bp, "eager", None, 1, [5.0, 8.0, 10.0]),
            Timed(dgl, "reference", None, 1, [40.0, 40.0, 90.0]),
            Timed(dgl, "eager", None, 1, [10.0, 20.0, 30.0]),
            Timed(dgl, "compiled", error="does not fit"),
        ]
        context = Context(
            dataset="digits",
            bounds={dgl: Bound(3, 4, 5, 2.0, 6)},
            data=Speeds((1437.0, 2874.0, 143.7), (14.37,)),
            evaluation=Speeds((360.0,), (180.0, 180.0)),
        )
        return lines_of(timed, context)

    def test_speedup_is_the_median_of_the_rounds_ratios(self) -> None:
        assert line_of(self.found(), "dgl", "eager").speedup == Spread(3.0, 2.0, 4.0)
        assert line_of(self.found(), "bp", "eager").speedup == Spread(2.5, 2.0, 3.0)
        assert line_of(self.found(), "dgl", "reference").speedup is None

    def test_overhead_is_over_the_same_engines_backpropagation(self) -> None:
        assert line_of(self.found(), "dgl", "eager").over_bp == Spread(2.5, 2.0, 3.0)
        assert line_of(self.found(), "dgl", "eager").overhead == pytest.approx(150)
        assert line_of(self.found(), "dgl", "reference").overhead == pytest.approx(200)
        assert line_of(self.found(), "bp", "eager").overhead is None

    def test_rates(self) -> None:
        line = line_of(self.found(), "dgl", "eager")
        assert line.milliseconds == Spread(20.0, 10.0, 30.0)
        assert line.images_per_second == pytest.approx(8 / 0.020)
        assert line.roofline_share == pytest.approx(2.0 / 20.0)

    def test_an_epoch_is_steps_images_and_tests(self) -> None:
        # 1,437 training images in 180 batches of 8, 360 test images; ours at medians of 1,437 and
        # 360 images/s.
        assert line_of(self.found(), "dgl", "eager").epoch_seconds == pytest.approx(
            180 * 0.020 + 1 + 1
        )
        # The reference's workers at 14.37 images/s take longer than the steps, and tests 2 s.
        slow = line_of(self.found(), "dgl", "reference")
        assert slow.epoch_seconds == pytest.approx(100 + 2)
        assert line_of(self.found(), "dgl", "eager").epoch_speedup == pytest.approx(102 / 5.6)

    def test_a_failure_is_a_line_with_its_reason(self) -> None:
        line = line_of(self.found(), "dgl", "compiled")
        assert (line.error, line.milliseconds, line.speedup) == ("does not fit", None, None)

    def test_phases_are_followed_by_their_mean(self) -> None:
        bp, local, guided = cases("pgl+head")
        assert (local.phase, guided.phase, guided.guided, local.global_share) == (
            "local",
            "global",
            True,
            0.2,
        )
        timed = [Timed(bp, "eager", None, 1, [5.0]), Timed(local, "eager", None, 1, [10.0])]
        found = lines_of(
            [*timed, Timed(guided, "eager", None, 1, [20.0])], Context(dataset="digits")
        )
        assert [each.phase for each in found] == ["", "local", "global", "mean"]
        assert found[-1].rounds == pytest.approx((12.0,))
        assert found[-1].overhead == pytest.approx(140)

    @pytest.mark.parametrize(
        ("ran", "mean", "overheads"),
        [
            (("graphed", "graphed", "graphed"), "graphed", (100, 300, 140)),
            (("graphed", "graphed", "eager"), "graphed and eager", (100, None, None)),
            (("graphed", "eager", "eager"), "eager", (None, None, None)),
            (("eager", "eager", "eager"), "eager", (100, 300, 140)),
        ],
    )
    def test_an_engine_that_gave_up_is_held_against_none_but_its_like(
        self, ran: tuple[str, str, str], mean: str, overheads: tuple[float | None, ...]
    ) -> None:
        timed = [
            Timed(case, "graphed", Prepared(engine, 1.0, 0.5, 0.1, 100), 1, [milliseconds])
            for case, engine, milliseconds in zip(
                cases("pgl+head"), ran, (5.0, 10.0, 20.0), strict=True
            )
        ]
        found = lines_of(timed, Context(dataset="digits"))
        assert [each.ran for each in found] == [*ran, mean]
        assert [each.overhead for each in found[1:]] == [pytest.approx(each) for each in overheads]


def test_evaluation_is_timed_in_the_batches_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    sizes: list[int] = []

    def size(*given: object) -> int:
        asked.append(given)
        return 24

    monkeypatch.setattr("locbench.bench.data_path.testing_size", size)
    monkeypatch.setattr(
        "locbench.bench.data_path.accuracy",
        lambda chain, batches, device: sizes.extend(len(each.labels) for each in batches),
    )
    assert Batched(cases()[0].recipe, 8 * 50, CPU).evaluation("resnet8") > 0
    assert (asked, sizes) == ([(16, CPU)], [24, 24, 2])


class TestPublished:
    def test_overheads_are_read_from_the_table(self) -> None:
        (case,) = [
            each
            for each in standard_cases({"dataset": "cifar10", "batch_size": 128})
            if "110" in each.recipe.network and each.recipe.method == "auglocal"
        ]
        table = load_table("auglocal-costs")
        printed = table.published["wall_clock_overhead"]["Wall-clock overhead"]
        wanted = printed[[each.label for each in table.columns].index("AugLocal d=2")]
        context = Context(dataset="cifar10", overheads=published_overheads())
        (line,) = lines_of([Timed(case, "eager", None, 1, [1.0])], context)
        assert line.published_overhead == wanted != ""

    def test_the_standard_list_has_what_the_papers_compare(self) -> None:
        found = standard_cases({"dataset": "cifar10", "batch_size": 128, "precision": "fp32"})
        assert [each.recipe.method for each in found].count("bp") == 2
        assert {each.recipe.batch_size for each in found} == {128}
        assert [
            each.phase
            for each in found
            if each.recipe.composition.phases.__struct_config__.tag == "periodic"
        ]


class TestRoofline:
    def counted(self, work: Callable[[], object]) -> list[Operation]:
        with FakeTensorMode(), Operations() as live:
            inputs = work()
            live.seen.clear()
            inputs()  # type: ignore[operator]
        return live.seen

    def test_a_convolution(self) -> None:
        def work() -> Callable[[], object]:
            x, net = torch.zeros(2, 3, 8, 8), nn.Conv2d(3, 4, 3, padding=1, bias=False)
            return lambda: net(x)

        (found,) = self.counted(work)
        assert found.flops == 2 * (2 * 4 * 8 * 8) * 3 * 9
        assert found.moved == 4 * (2 * 3 * 8 * 8 + 4 * 3 * 9 + 2 * 4 * 8 * 8)

    def test_its_backward_pass_makes_both_gradients(self) -> None:
        def work() -> Callable[[], object]:
            x, net = (
                torch.zeros(2, 3, 8, 8, requires_grad=True),
                nn.Conv2d(3, 4, 3, padding=1, bias=False),
            )
            y = net(x)
            return lambda: torch.autograd.grad(y, (x, net.weight), torch.zeros_like(y))

        found = self.counted(work)[-1]
        image, weight, out = 2 * 3 * 8 * 8, 4 * 3 * 9, 2 * 4 * 8 * 8
        assert found.name == "aten.convolution_backward.default"
        assert found.flops == 2 * 2 * out * 27
        assert found.moved == 4 * (out + 2 * image + 2 * weight)

    def test_in_place_reads_and_writes_and_views_are_free(self) -> None:
        def work() -> Callable[[], object]:
            x, y = torch.zeros(10, 10), torch.zeros(10, 10)
            return lambda: (x.add_(y), x.t().detach(), x.view(-1), y.expand(10, 10), x.relu())

        assert [(each.moved, each.flops) for each in self.counted(work)] == [
            (3 * 400, 0),
            (2 * 400, 0),
        ]

    def test_a_fused_optimizer_reads_gradients_and_changes_weights_and_momentum(self) -> None:
        def work() -> Callable[[], object]:
            weight = nn.Parameter(torch.zeros(100))
            optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, fused=True)
            weight.grad = torch.zeros(100)
            optimizer.step()
            return optimizer.step

        found = [each for each in self.counted(work) if "sgd" in each.name]
        assert [each.moved for each in found] == [400 * 5]

    def test_a_whole_step_of_a_linear_network_by_hand(self) -> None:
        def work() -> Callable[[], object]:
            x, net = torch.zeros(5, 7), nn.Linear(7, 3)
            labels = torch.zeros(5, dtype=torch.int64)
            return lambda: F.cross_entropy(net(x), labels).backward()

        found = self.counted(work)
        assert (
            sum(each.flops for each in found) == 2 * (5 * 7 * 3) * 2
        )  # forward, and the weight's gradient
        (product,) = [each for each in found if each.name == "aten.addmm.default"]
        assert product.moved == 4 * (3 + 5 * 7 + 7 * 3 + 5 * 3)

    def test_every_operation_takes_the_longer_of_both(self) -> None:
        ceiling = Ceiling(bytes_per_second=100.0, flops_per_second=10.0)
        assert ceiling.seconds([Operation("a", 200, 5), Operation("b", 100, 30)]) == pytest.approx(
            2.0 + 3.0
        )

    def test_a_training_steps_products_are_three_forward_passes(self) -> None:
        (bp,) = cases("bp")
        from locbench.costs.counts import flops_by_part

        macs = flops_by_part(bp.recipe).network.macs * 8
        first = 8 * 16 * 16 * 16 * 27  # the stem's input needs no gradient
        assert sum(each.flops for each in trace(bp).operations) == 2 * (3 * macs - first)


def test_kinds_of_operations_add_up_to_the_clock() -> None:
    own = {
        "aten::mkldnn_convolution": 4000.0,
        "aten::native_batch_norm": 1000.0,
        "aten::_fused_sgd_": 500.0,
    }
    own |= {"aten::relu_": 250.0, "aten::convolution_backward": 2000.0}
    shares = shares_of(own, 0.010, 2)
    wanted = {
        "convolution": 3.0,
        "batch norm": 0.5,
        "optimizer": 0.25,
        "other": 0.125,
        "overhead": 1.125,
    }
    assert shares.kinds == pytest.approx(wanted)
    assert shares.milliseconds == pytest.approx(5.0)


class TestChoice:
    def test_engines_by_name(self) -> None:
        assert parse_engines("eager, reference") == ("eager", "reference")
        assert parse_engines(None) == ENGINES
        with pytest.raises(UsageError, match="eger") as raised:
            parse_engines("eger")
        assert "eager" in raised.value.remedy

    def test_what_cannot_run_is_left_out_with_its_reason(self) -> None:
        able, skipped = runnable(cases(), ENGINES, CPU, asked=False)
        assert [engine for _, engine in able] == ["reference", "eager"] * 2
        reasons = {each.what: each.why for each in skipped}
        assert list(reasons) == ["compiled", "graphed"]
        assert "CUDA" in reasons["graphed"]
        assert "compiled" in [
            engine for _, engine in runnable(cases(), ("compiled",), CPU, asked=True)[0]
        ]

    def test_some_recipes_have_no_reference(self) -> None:
        able, skipped = runnable(
            cases("dgl", memory="lean"), ("reference", "eager"), CPU, asked=True
        )
        assert len(able) == 3
        assert skipped[0].what == "reference for resnet8 dgl"

    def test_backpropagation_comes_first(self) -> None:
        assert [each.recipe.method for each in cases("dgl")] == ["bp", "dgl"]
        assert [each.recipe.method for each in cases("bp")] == ["bp"]


class Hand:
    """Stands for a process: every call of a name gives the next of its answers, errors are raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def __call__(self, name: str, *arguments: Any) -> Any:
        answer = self.answers.get(name)
        answer = answer(*arguments) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer


def empty() -> Found:
    return Found(
        device="a device",
        precision="fp32",
        threads=1,
        provenance=Provenance("", {}, "", None, "", 0.0),
    )


def test_a_step_that_fails_leaves_the_others_and_a_note() -> None:
    from locbench.bench.results import Prepared

    def prepare(_: int, case: Case, engine: str) -> Any:
        if case.recipe.method == "dgl":
            return LocbenchError("does not fit: 3 bytes")
        return Prepared(engine, 1.0, 0.0, 0.5, 10)

    hand = Hand(
        ceiling=Ceiling(1e9, 1e9),
        threads=1,
        prepare=prepare,
        time=4.0,
        train_epoch=UsageError("no room"),
    )

    class Two:
        reference = engines = hand

    found = empty()
    able, _ = runnable(cases(), ("eager",), CPU, asked=True)
    Benchmark(able, Lengths(3, None, 6.0), Two(), CPU, found, lambda _: None).run()  # type: ignore[arg-type]
    assert [(each.method, each.error) for each in found.lines] == [
        ("bp", ""),
        ("dgl", "does not fit: 3 bytes"),
    ]
    assert found.lines[0].rounds == (4.0, 4.0, 4.0)
    assert found.lines[0].steps == 4
    assert [each.what for each in found.skipped] == ["data path"]
    assert "not timed" in plain_line(found.lines[1])
    rows = list(csv.DictReader(csv_text(found).splitlines()))
    assert [row["milliseconds"] for row in rows] == ["4.0", ""]


def test_a_process_says_what_is_wrong() -> None:
    worker = Worker(False, "cpu", "fp32", 1)
    try:
        with pytest.raises(LocbenchError, match="ended"):
            worker("time", 0, 1)
        (bp,) = cases("bp")
        with pytest.raises(UsageError, match="CUDA"):
            worker("prepare", 0, bp, "graphed")
        assert worker("prepare", 0, bp, "eager").engine == "eager"
        assert worker("time", 0, 1) > 0
        assert worker.process is not None
        worker.process.kill()
        with pytest.raises(LocbenchError, match="was ended"):
            worker("time", 0, 1)
    finally:
        worker.close()


def call(*arguments: str) -> int:
    before, sys.argv = sys.argv, ["locbench", "bench", *arguments]
    try:
        main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    finally:
        sys.argv = before
    return 0


SMALL = ["--network", "resnet8", "--dataset", "digits", "--batch-size", "8", "--threads", "1"]


def test_the_command_on_the_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.csv"
    words = ["--method", "dgl", "--steps", "2", "--rounds", "2", "--json", "--out", str(out)]
    assert call(*SMALL, *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["method"], each["engine"]) for each in found["lines"]] == [
        (method, engine) for method in ("bp", "dgl") for engine in ("reference", "eager")
    ]
    for line in found["lines"]:
        assert len(line["rounds"]) == 2
        assert (
            line["milliseconds"]["least"]
            <= line["milliseconds"]["median"]
            <= line["milliseconds"]["most"]
        )
        assert line["prepared"]["peak_bytes"] > 0
        assert line["meter"] == "cpu allocator"
        assert line["epoch_seconds"] > 0
        assert (line["speedup"] is None) == (line["engine"] == "reference")
    assert found["threads"] == 1
    assert [each["what"] for each in found["skipped"]] == ["compiled", "graphed"]
    assert {"torch", "locbench"} <= found["provenance"]["versions"].keys()
    assert len(list(csv.DictReader(out.read_text().splitlines()))) == 4


def test_a_profile_on_the_digits(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*SMALL, "--profile", "--steps", "1") == 0
    text = capsys.readouterr().out
    for word in ("resnet8 bp", "convolution", "batch norm", "optimizer", "overhead"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--engines", "eger"], 2, "Did you mean 'eager'"),
        (["--engines", ","], 2, "names none"),
        ([*SMALL, "--engines", "graphed"], 2, "CUDA"),
        (["--method", "dgl"], 2, "--network"),
        ([*SMALL, "--rounds", "0"], 2, "--rounds"),
        ([*SMALL, "--threads", "0"], 2, "--threads"),
        ([*SMALL, "--out", "/dev/null/x.csv"], 1, "cannot write"),
        (["--network", "resnet9"], 2, "resnet8"),
    ],
)
def test_messages(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--device", "cpu", *arguments) == code
    assert says in capsys.readouterr().err


def test_a_batch_beyond_memory_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("locbench.bench.benchmark.available_bytes", lambda: 1000)
    assert call(*SMALL, "--engines", "eager", "--device", "cpu") == 1
    error = capsys.readouterr().err
    assert "does not fit" in error
    assert "--batch-size" in error


def test_help_imports_no_torch() -> None:
    script = (
        "import sys\nfrom locbench.cli import main\nsys.argv = ['locbench', 'bench', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nsys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "--engines" in done.stdout
