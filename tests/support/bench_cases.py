"""Small cases of `locbench bench`, on the digits."""

from __future__ import annotations

from typing import Any

from locbench.bench.cases import Case, cases_of

DIGITS = {"dataset": "digits", "network": "resnet8", "batch_size": 8}


def cases(method: str = "dgl", *words: str, **settings: Any) -> list[Case]:
    return cases_of({**DIGITS, "method": method, **settings}, words)
