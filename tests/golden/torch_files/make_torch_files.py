"""Makes the files of this folder with PyTorch (2.13), which the tests do without.

python tests/golden/torch_files/make_torch_files.py
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
    "complex64": torch.complex64,
    "complex128": torch.complex128,
    "uint16": torch.uint16,  # these two are written as bytes with a dtype
    "uint64": torch.uint64,
}


def tensors() -> dict[str, torch.Tensor]:
    numbers = torch.tensor([[-3.0, -1.5, 0.0], [0.5, 2.0, 100.0]], dtype=torch.float64)
    made = {name: numbers.abs().round().to(dtype) for name, dtype in DTYPES.items()}
    for name in ("float64", "float32", "float16", "bfloat16"):
        made[name] = (numbers / 3).to(DTYPES[name])
    made["bfloat16_special"] = torch.tensor(
        [0.0, -0.0, float("inf"), float("nan"), 1e-40], dtype=torch.bfloat16
    )
    base = torch.arange(24, dtype=torch.float32)
    cube = base.reshape(2, 3, 4)
    made |= {
        "transposed": cube.permute(2, 0, 1),
        "strided": cube[:, 1:, ::2],
        "flipped_storage_end": base[23:],
        "tied": cube,
        "tied_again": cube,
        "expanded": torch.tensor([7.0]).expand(3, 4),
        "bfloat16_transposed": cube.to(torch.bfloat16).mT,
        "scalar": torch.tensor(2.5),
        "scalar_in_the_middle": base[5],
        "empty": torch.zeros(0),
        "empty_matrix": torch.zeros(3, 0, 2, dtype=torch.int16),
        "empty_slice": base[4:4],
        "parameter": torch.nn.Parameter(torch.tensor([1.0, -1.0])),
    }
    return made


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


class Tied(torch.nn.Module):
    """An embedding whose weights are those of the output too."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(5, 4)
        self.norm = torch.nn.BatchNorm1d(4)
        self.out = torch.nn.Linear(4, 5, bias=False)
        self.out.weight = self.embedding.weight


class Hyperparams(dict):
    """Stands for the class of Jukebox's settings."""


def save_training(model: torch.nn.Module) -> None:
    """Writes what a training keeps: weights with `module.`, an optimizer after a step, settings."""
    model.embedding.weight.sum().backward()
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.step()
    hparams = types.ModuleType("jukebox.hparams")
    hparams.Hyperparams = Hyperparams
    Hyperparams.__module__ = "jukebox.hparams"
    sys.modules |= {"jukebox": types.ModuleType("jukebox"), "jukebox.hparams": hparams}
    tree = {
        "hps": Hyperparams(levels=3, lr=0.0003),
        "model": torch.nn.DataParallel(model).state_dict(),
        "opt": optimizer.state_dict(),
        "step": 1234,
    }
    torch.save(tree, HERE / "training.pth")
    torch.save(tree, HERE / "training_legacy.pth", _use_new_zipfile_serialization=False)
    weights = {name: to_numpy(tensor) for name, tensor in model.state_dict().items()}
    np.savez_compressed(HERE / "training.npz", **weights)


def main() -> None:
    tree = {
        "tensors": tensors(),
        "shape": torch.Size([2, 3]),
        "dtype": torch.float16,
        "others": [None, True, -1, 2**40, 0.1, "ä", (1, (2,)), {"a": []}],
    }
    torch.save(tree, HERE / "all.pth")
    torch.save(tree, HERE / "all_legacy.pth", _use_new_zipfile_serialization=False)
    arrays = {name: to_numpy(tensor) for name, tensor in tree["tensors"].items()}
    np.savez_compressed(HERE / "all.npz", **arrays)

    torch.save({"w": torch.ones(2, dtype=torch.complex64).conj()}, HERE / "conjugate.pth")
    torch.save(torch.nn.Linear(2, 1), HERE / "module.pth")
    torch.save([torch.ones(2)], HERE / "list.pth")
    torch.serialization.set_crc32_options(False)
    torch.save({"w": torch.arange(3)}, HERE / "no_checksums.pth")
    torch.serialization.set_crc32_options(True)
    torch.manual_seed(0)
    save_training(Tied())


if __name__ == "__main__":
    main()
