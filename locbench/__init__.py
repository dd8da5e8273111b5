"""locbench: the published tables of local-learning papers, reproduced and compared with the papers'
own numbers.
"""

__version__ = "0.2.0"
