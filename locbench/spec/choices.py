"""Words that settings and options choose from."""

from __future__ import annotations

from typing import Literal, TypeAlias

Precision: TypeAlias = Literal["fp32", "tf32", "bf16"]
Memory: TypeAlias = Literal["plain", "lean"]
Optimizer: TypeAlias = Literal["sgd", "adamw"]
Rate: TypeAlias = Literal["cosine-epoch", "cosine-epoch0", "cosine-step", "steps"]
Augmentation: TypeAlias = Literal["standard", "swin", "imagenet"]
Init: TypeAlias = Literal["scratch", "pretrained", "torchvision"]
Preset: TypeAlias = Literal["smoke", "quick", "short", "paper"]
EngineName: TypeAlias = Literal["eager", "compiled", "graphed", "compiled+graphed"]
EngineChoice: TypeAlias = Literal["auto", EngineName]
Autograd: TypeAlias = Literal["current", "torch<=1.10"]
Rerun: TypeAlias = Literal["failed", "all"]
AnalysisKind: TypeAlias = Literal["cka", "probe", "tsne", "features", "curves"]
FigureKind: TypeAlias = Literal["accuracy", "reduction", AnalysisKind]
"""What a figure shows: test accuracy as bars, accuracy against the FLOPs reduction, or an analysis.
"""
Layout: TypeAlias = Literal["ours", "both", "paper"]
"""What a cell of a table for a paper holds: our number; ours and, in brackets, the published one;
that one."""
