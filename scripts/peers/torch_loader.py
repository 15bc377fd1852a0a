#!/usr/bin/env python3
"""The PyTorch twin of `fulcrum data bench`: images/s of DataLoader + ImageFolder + PIL, with nothing to train.

    torch_loader.py FOLDER --workers 2 --batch-size 128 --pad 4 [--image-size 224] [--random-resized-crop]

A server: every line "run SECONDS" on stdin is answered by a JSON line.  The worker processes live on between epochs.
"""

import argparse
import json
import sys
import time

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2


def batches(loader: DataLoader):
    while True:
        yield from loader


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("folder")
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--batch-size", type=int, default=128)
    p.add_argument("--pad", type=int, default=4)
    p.add_argument("--image-size", type=int, default=0)
    p.add_argument("--random-resized-crop", action="store_true")
    args = p.parse_args()
    torch.set_num_threads(1)
    data = ImageFolder(args.folder)
    size = args.image_size or data[0][0].size[0]
    resize = [v2.Resize(args.image_size), v2.CenterCrop(args.image_size)] if args.image_size else []
    part = v2.RandomResizedCrop(size) if args.random_resized_crop else v2.RandomCrop(size, padding=args.pad)
    data.transform = v2.Compose([
        *([] if args.random_resized_crop else resize),
        part,
        v2.RandomHorizontalFlip(),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.49, 0.48, 0.45], [0.25, 0.24, 0.26]),
    ])
    loader = DataLoader(data, args.batch_size, shuffle=True, num_workers=args.workers,
                        persistent_workers=args.workers > 0)
    stream = batches(loader)
    for line in sys.stdin:
        word, *rest = line.split()
        if word != "run":
            break
        start, images = time.perf_counter(), 0
        while time.perf_counter() - start < float(rest[0]):
            images += next(stream)[0].shape[0]
        print(json.dumps({"images_per_s": images / (time.perf_counter() - start)}), flush=True)


if __name__ == "__main__":
    main()
