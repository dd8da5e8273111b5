"""The state of the code in a record: commit, changes, and why git does not say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from report_builders import make_record, make_table, recipe_at

from locbench.report.provenance import source_lines, sources_of
from locbench.results import provenance
from locbench.results.provenance import Code, code, code_of

AUTHOR = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")


def checkout(folder: Path) -> Path:
    """A repository with one commit."""
    (folder / "locbench").mkdir(parents=True)
    (folder / "locbench" / "code.py").write_text("1\n")
    for command in (("init", "-q"), ("add", "."), (*AUTHOR, "commit", "-qm", "First")):
        subprocess.run(["git", "-C", folder, *command], check=True)
    return folder


def head(folder: Path) -> str:
    return (
        subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], check=True, capture_output=True)
        .stdout.decode()
        .strip()
    )


def test_a_checkout_and_its_changes(tmp_path: Path) -> None:
    root = checkout(tmp_path / "own")
    (root / "results").mkdir()
    # What a sweep writes is no change of the code.
    (root / "results" / "record.json").write_text("{}")
    assert code_of(root) == Code(head(root), dirty=False)
    (root / "locbench" / "code.py").write_text("2\n")
    assert code_of(root) == Code(head(root), dirty=True)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    root = checkout(tmp_path / os.fsdecode(b"caf\xe9"))
    assert code_of(root) == Code(head(root), dirty=False)


def test_outside_a_checkout_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout(tmp_path / "theirs")
    monkeypatch.setattr(subprocess, "run", None)
    assert code_of(tmp_path / "theirs" / "locbench") == Code()


def test_a_hook_of_git_names_another_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = checkout(tmp_path / "own")
    expected = Code(head(root), dirty=False)
    monkeypatch.setenv("GIT_DIR", str(checkout(tmp_path / "other") / ".git"))
    assert code_of(root) == expected


def answering(**known: Any) -> Callable[..., Any]:
    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
        if "raises" in known:
            raise known["raises"]
        return subprocess.CompletedProcess("git", known["code"], b"", known["said"])

    return run


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answering(raises=FileNotFoundError()), "git is not installed"),
        (
            answering(raises=subprocess.TimeoutExpired("git", 30)),
            "git did not answer within 30 seconds",
        ),
        (
            answering(raises=PermissionError(13, "Permission denied")),
            "git cannot be run: [Errno 13] Permission denied",
        ),
        (
            answering(
                code=128,
                said=b"fatal: detected dubious ownership in repository at '%s'\nTo add ...",
            ),
            "detected dubious ownership in repository at 'the checkout'",
        ),
        (answering(code=3, said=b""), "git ended with exit code 3"),
    ],
)
def test_where_git_refuses_the_reason_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Any], reason: str
) -> None:
    root = checkout(tmp_path / "own")

    def run(*arguments: object, **options: object) -> Any:
        done = answer()
        done.stderr = done.stderr.replace(b"%s", os.fsencode(root))
        return done

    monkeypatch.setattr(subprocess, "run", run)
    assert code_of(root) == Code("", None, reason)


def test_an_empty_repository_has_no_commit(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert "HEAD" in code_of(tmp_path).no_commit


def test_git_is_asked_once_per_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def counted(root: Path) -> Code:
        asked.append(root)
        return Code("a commit", False)

    monkeypatch.setattr(provenance, "code_of", counted)
    code.cache_clear()
    try:
        assert code() == code() == Code("a commit", False)
        assert len(asked) == 1
    finally:
        code.cache_clear()


def test_a_report_says_why_there_is_no_commit() -> None:
    recipe = recipe_at(make_table(), "DGL")
    refused = make_record(
        recipe,
        50.0,
        0,
        provenance={"commit": "", "dirty": None, "no_commit": "git is not installed"},
    )
    outside = make_record(recipe, 50.0, 1, provenance={"commit": "", "dirty": None})
    assert sources_of([refused, outside]).commits == (
        "unknown (git is not installed)",
        "outside a checkout",
    )


def test_a_report_says_how_many_threads_there_were() -> None:
    recipe = recipe_at(make_table(), "DGL")
    counts = (8, 1, 8, 0)  # 0 where the record is older
    made = [
        make_record(recipe, 50.0, seed, provenance={"threads": count})
        for seed, count in enumerate(counts)
    ]
    sources = sources_of(made)
    assert sources.threads == (1, 8)
    assert "CPU threads: 1, 8" in source_lines(sources)
    assert not [line for line in source_lines(sources_of(made[3:])) if "threads" in line]


def test_a_record_without_the_reason_is_read() -> None:
    made = make_record(recipe_at(make_table(), "DGL"), 50.0)
    plain = msgspec.to_builtins(made)
    del plain["provenance"]["no_commit"]
    assert msgspec.convert(plain, type(made)) == made
