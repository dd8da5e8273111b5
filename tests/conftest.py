"""Settings of the whole test run."""

from __future__ import annotations

import torch

# Maps this small are slower on several threads, by orders of magnitude where other work shares the
# cores.
torch.set_num_threads(1)
