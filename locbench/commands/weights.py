"""What `locbench weights` does."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from locbench.console import Output, Terminal
from locbench.errors import UsageError
from locbench.files import write_atomically
from locbench.results.named import named_record
from locbench.results.store import Store
from locbench.spec.networks import NETWORKS
from locbench.terminal.lines import say
from locbench.terminal.weights import print_weights, weights_entry

if TYPE_CHECKING:
    from torch import Tensor

ENDINGS = (".safetensors", ".pt", ".pth")


def list_weights(results: Path, output: Output) -> None:
    """Show the records whose final weights were kept, with their files."""
    store = Store(results)
    kept = [
        (record, path)
        for record in store.all()
        if (path := store.weights(record.key)).is_file() and record.status == "done"
    ]
    store.report()
    output.show(
        lambda: [weights_entry(record, path) for record, path in kept],
        lambda console: print_weights(console, kept, store.folder),
    )


def export_weights(
    name: str, out: Path, results: Path, output: Output, *, own_names: bool = False
) -> None:
    """Write the network's weights of one record, without its auxiliary nets.

    Args:
        name: see `named_record`.
        out: the file; ``.safetensors``, or ``.pt`` and ``.pth`` for torch's own format.
        results: folder of the records.
        output: where to print.
        own_names: keep locbench's names where torchvision or timm has the network.

    Raises:
        UsageError: no such record, or the file's ending is another one.
        FailureError: its weights were not kept, or the file cannot be written.
    """
    if out.suffix not in ENDINGS:
        raise UsageError(
            f"{out} ends with none of {', '.join(ENDINGS)}", "For example: --out network.pt"
        )
    from locbench.analysis.trained import exported_state
    from locbench.networks.pretrained import library_of

    record, store = named_record(name, Store(results))
    state = exported_state(record, store, own_names=own_names)
    write_atomically(out, _encoded(state, out.suffix))
    network, library = NETWORKS[record.recipe.network].label, library_of(record.recipe.network)
    names = "locbench" if own_names or not library else library
    loads = f"; {library}'s {network} loads them" if names == library else ""

    def view(console: Terminal) -> None:
        say(console, f"{out}: {len(state)} tensors of {network}, by the names of {names}{loads}")

    output.show(
        lambda: {
            "file": str(out),
            "key": record.key,
            "network": record.recipe.network,
            "names": names,
            "tensors": len(state),
        },
        view,
    )


def _encoded(state: dict[str, Tensor], ending: str) -> bytes:
    if ending == ".safetensors":
        from safetensors.torch import save

        return save(state)
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
