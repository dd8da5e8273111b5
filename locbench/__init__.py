"""locbench: the published tables of local-learning papers, reproduced and held against the papers' own numbers."""

__version__ = "0.1.0"
