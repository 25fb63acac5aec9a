"""The peers of `data_pipeline.py` in PyTorch: loaders with two workers.

    python benchmarks/data_torch.py small
    python benchmarks/data_torch.py photos FOLDER

It needs torch and torchvision, and timm for photographs:
pip install torch torchvision timm --index-url https://download.pytorch.org/whl/cpu
--extra-index-url https://pypi.org/simple

Answers each line `N` on standard input with the time of N batches, as `blocks.py` says.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from blocks import answer
from torch.utils.data import DataLoader, Dataset

WORKERS = 2


class Pixels(Dataset):
    """Random images of 32 pixels in memory, augmented as `data_pipeline.SMALL` says."""

    def __init__(self) -> None:
        from torchvision.transforms import v2

        self.images = torch.randint(0, 256, (10_000, 3, 32, 32), dtype=torch.uint8)
        self.augment = v2.Compose(
            [
                v2.RandomCrop(32, padding=4, padding_mode="reflect"),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
                v2.RandomRotation(5, interpolation=v2.InterpolationMode.BILINEAR),
                v2.RandomErasing(0.5, scale=(0.02, 0.4)),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.augment(self.images[index])


class Photos(Dataset):
    """JPEG files that timm's transforms scale and crop; uint8, as its loader takes them."""

    def __init__(self, folder: str) -> None:
        from timm.data import create_transform

        self.names = []
        for path in sorted(Path(folder).rglob("*")):
            if path.suffix.lower() in (".jpg", ".jpeg"):
                self.names.append(path)
        self.augment = create_transform(
            224,
            is_training=True,
            use_prefetcher=True,
            scale=(0.25, 1.0),
            hflip=0.5,
            color_jitter=None,
            auto_augment=None,
            interpolation="bilinear",
            re_prob=0.0,
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        with Image.open(self.names[index]) as image:
            return self.augment(image.convert("RGB")), 0


def batches_of(loader: DataLoader) -> Iterator[Any]:
    """Return endless batches."""
    while True:
        yield from loader


def main() -> None:
    """Make blocks of batches as told."""
    torch.set_num_threads(WORKERS)
    if sys.argv[1] == "small":
        loader = DataLoader(
            Pixels(),
            batch_size=128,
            shuffle=True,
            num_workers=WORKERS,
            persistent_workers=True,
        )
    else:
        from timm.data.loader import fast_collate

        loader = DataLoader(
            Photos(sys.argv[2]),
            batch_size=32,
            shuffle=True,
            num_workers=WORKERS,
            persistent_workers=True,
            collate_fn=fast_collate,
        )
    answer(batches_of(loader))


if __name__ == "__main__":
    main()
