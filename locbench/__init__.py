"""locbench: published tables of local-learning papers, reproduced and compared."""

__version__ = "0.2.0"
