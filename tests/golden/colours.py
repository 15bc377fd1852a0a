#!/usr/bin/env python3
"""Writes (or, with --check, recomputes and compares) colours.safetensors: what torchvision makes of PIL images.

    input.I              u8 [H, W, 3 or 1]   the images
    brightness.I.FACTOR, contrast…, saturation…, sharpness…, hue.I.TURN: torchvision's adjust_ functions
    hue_all.TURN         u8 [24, 24, 3]      adjust_hue of `hue_all`, which has every kind of hue and saturation
    rand.I.OP.M.SIGN     RandAugment's operation number OP at magnitude M; SIGN 1: turned round

    python colours.py [--check]      needs numpy, Pillow, safetensors, torchvision
"""

from pathlib import Path

import numpy as np
from images import picture, write_or_check
from PIL import Image
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

PATH = Path(__file__).resolve().parent / "colours.safetensors"
FACTORS = (0.0, 0.35, 1.4, 2.7)
TURNS = (-0.5, -0.1, 0.0, 0.27)
OPERATIONS = ("Identity ShearX ShearY TranslateX TranslateY Rotate Brightness Color Contrast Sharpness "
              "Posterize Solarize AutoContrast Equalize").split()


def array(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None])


def inputs() -> list:
    dim = Image.fromarray((picture(14, 17, 31)[..., :3] // 3 + 40).astype(np.uint8))
    return [
        Image.fromarray(picture(13, 19, 30)[..., :3]),
        dim,
        Image.fromarray(picture(16, 11, 32)[..., 0]),
        Image.fromarray(np.full((6, 5, 3), 77, np.uint8)),
        Image.fromarray(picture(2, 2, 33)[..., :3]),
    ]


def operation(image: Image.Image, name: str, magnitude: int, negative: bool) -> Image.Image:
    transform = v2.RandAugment(magnitude=magnitude)
    magnitudes, signed = transform._AUGMENTATION_SPACE[name]
    height, width = image.height, image.width
    levels = magnitudes(31, height, width)
    level = 0.0 if levels is None else float(levels[magnitude])
    level = -level if signed and negative else level
    return transform._apply_image_or_video_transform(
        image, name, level, interpolation=InterpolationMode.NEAREST, fill=transform._fill
    )


def golden() -> dict:
    tensors = {}
    for number, image in enumerate(inputs()):
        tensors[f"input.{number}"] = array(image)
        for factor in FACTORS:
            for name in ("brightness", "contrast", "saturation", "sharpness"):
                tensors[f"{name}.{number}.{factor}"] = array(getattr(F, f"adjust_{name}")(image, factor))
        for turn in TURNS:
            tensors[f"hue.{number}.{turn}"] = array(F.adjust_hue(image, turn))
        for index, name in enumerate(OPERATIONS):
            for magnitude in (9, 17, 30):
                for negative in (0, 1) if 0 < index < 10 else (0,):
                    key = f"rand.{number}.{index}.{magnitude}.{negative}"
                    tensors[key] = array(operation(image, name, magnitude, bool(negative)))
    levels = np.array([0, 1, 50, 127, 128, 254, 255], np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)
    more = np.random.default_rng(35).integers(0, 256, (24 * 24 - len(grid), 3), np.uint8)
    every = Image.fromarray(np.concatenate([grid, more]).reshape(24, 24, 3))
    tensors["hue_all"] = array(every)
    for turn in TURNS:
        tensors[f"hue_all.{turn}"] = array(F.adjust_hue(every, turn))
    return tensors


if __name__ == "__main__":
    write_or_check(PATH, golden())
