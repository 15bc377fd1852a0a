#!/usr/bin/env python3
"""Writes (or, with --check, recomputes and compares) images.safetensors: image files and what PIL makes of them.

    NAME.file     u8 [bytes]      a JPEG or PNG file
    NAME.rgb      u8 [H, W, 3]    PIL's Image.open(file).convert("RGB")
    NAME.grey     u8 [H, W, 1]    the same, then convert("L"); for a file that PIL opens as L or I;16 directly convert("L")
    resize.input  u8 [H, W, 3],   resize.HxW: PIL's resize((W, H), BILINEAR)
    crop.input.I  u8 [H, W, 3],   crop.I.S: torchvision's Resize(S) and CenterCrop(S)
    rotate.input.I  u8 [H, W, 3], rotate.I.ANGLE: torchvision's rotate by so many degrees, nearest, zeros around
    exif.N.file  u8 [bytes]       a JPEG whose EXIF data say orientation N; exif.N: what PIL's exif_transpose makes of it
    box.I         u8 [H, W, 3]    torchvision's resized_crop of crop.input.0, (top, left, height, width) = BOXES[I], to 12x9

    python images.py [--check]      needs numpy, Pillow, safetensors, torchvision

Kinds that PIL cannot write (interlaced, 2 and 4 bits of grey, 16 bits of colour) are written by `png` below; YCCK is
PIL's CMYK file with another transform in its Adobe marker.  --check allows 2 levels on JPEGs: libjpeg versions differ.
"""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import load_file, save_file
from torchvision.transforms import v2

PATH = Path(__file__).resolve().parent / "images.safetensors"
ANGLES = (-179, -61.5, -20, -7.25, -0.5, 0, 3, 13.75, 20, 45, 118)
BOXES = ((0, 0, 31, 45), (3, 5, 20, 11), (30, 44, 1, 1), (10, 0, 7, 40))
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """Slopes under noise, u8 [H, W, 4]."""
    y, x = np.mgrid[0:height, 0:width]
    slopes = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height), 255 - x * 200 / width], -1)
    return np.clip(slopes + np.random.default_rng(seed).normal(0, 25, slopes.shape), 0, 255).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def packed(samples: np.ndarray, depth: int) -> bytes:
    """Rows [H, W, C] of a pass, each with filter type 0, samples of `depth` bits."""
    rows = b""
    for row in samples.reshape(samples.shape[0], -1):
        bits = "".join(format(int(v), f"0{depth}b") for v in row)
        bits += "0" * (-len(bits) % 8)
        rows += b"\0" + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    return rows


def png(samples: np.ndarray, depth: int, colour: int, chunks: list = (), interlaced: bool = False) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = samples.shape[:2]
    passes = [samples[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [samples]
    data = b"".join(packed(p, depth) for p in passes if p.size)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
        + b"".join(chunk(kind, content) for kind, content in chunks)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def jpegs() -> dict:
    rgba = picture(21, 34, 1)
    rgb = Image.fromarray(rgba[..., :3])
    cmyk = saved(Image.fromarray(rgba, "CMYK"), "jpeg", quality=85)
    adobe = cmyk.index(b"Adobe")
    ycck = bytearray(cmyk)
    ycck[adobe + 11] = 2
    return {
        "jpeg_444": saved(rgb, "jpeg", quality=90, subsampling=0),
        "jpeg_422": saved(rgb, "jpeg", quality=80, subsampling=1),
        "jpeg_420": saved(rgb, "jpeg", quality=60, subsampling=2),
        "jpeg_progressive": saved(rgb, "jpeg", quality=80, progressive=True),
        "jpeg_grey": saved(rgb.convert("L"), "jpeg", quality=80),
        "jpeg_cmyk": cmyk,
        "jpeg_ycck": bytes(ycck),
    }


def pngs() -> dict:
    rgba = picture(9, 13, 2)
    deep = rgba.astype(np.uint16) * 256 + rgba[::-1]
    rgb, grey = Image.fromarray(rgba[..., :3]), Image.fromarray(rgba[..., 0])
    palette = rgb.quantize(11)
    return {
        "png_rgb": saved(rgb, "png"),
        "png_rgba": saved(Image.fromarray(rgba), "png"),
        "png_grey": saved(grey, "png"),
        "png_grey_alpha": saved(Image.fromarray(rgba[..., :2], "LA"), "png"),
        "png_palette_4": saved(palette, "png", bits=4),
        "png_palette_8": saved(palette, "png", bits=8),
        "png_palette_transparent": saved(palette, "png", transparency=bytes([0, 128, 255])),
        "png_1_bit": saved(grey.convert("1"), "png"),
        "png_grey_2": png(rgba[..., :1] >> 6, 2, 0),
        "png_grey_4": png(rgba[..., :1] >> 4, 4, 0),
        "png_grey_transparent": png(rgba[..., :1], 8, 0, [(b"tRNS", b"\0\x40")]),
        "png_grey_16": png((deep[..., :1] % 400), 16, 0),
        "png_grey_alpha_16": png(deep[..., :2], 16, 4),
        "png_rgb_16": png(deep[..., :3], 16, 2),
        "png_rgba_16": png(deep, 16, 6),
        "png_interlaced": png(rgba[..., :3], 8, 2, interlaced=True),
        "png_grey_2_interlaced": png(rgba[..., :1] >> 6, 2, 0, interlaced=True),
        "png_gamma": png(rgba[..., :3], 8, 2, [(b"gAMA", struct.pack(">I", 100000))]),
    }


def golden() -> dict:
    tensors = {}
    for name, file in {**jpegs(), **pngs()}.items():
        image = Image.open(io.BytesIO(file))
        tensors[f"{name}.file"] = np.frombuffer(file, np.uint8)
        tensors[f"{name}.rgb"] = np.asarray(image.convert("RGB"))
        direct = image if image.mode in ("L", "I;16", "1") else image.convert("RGB")
        tensors[f"{name}.grey"] = np.asarray(direct.convert("L"))[..., None]
    source = Image.fromarray(picture(31, 45, 3)[..., :3])
    tensors["resize.input"] = np.asarray(source)
    for height, width in [(8, 8), (31, 20), (13, 45), (62, 90), (70, 7), (1, 1), (30, 44)]:
        tensors[f"resize.{height}x{width}"] = np.asarray(source.resize((width, height), Image.Resampling.BILINEAR))
    for number, (height, width) in enumerate([(31, 45), (40, 27), (25, 25)]):
        source = Image.fromarray(picture(height, width, 4 + number)[..., :3])
        tensors[f"crop.input.{number}"] = np.asarray(source)
        for size in (16, 25, 33):
            crop = v2.Compose([v2.Resize(size), v2.CenterCrop(size)])
            tensors[f"crop.{number}.{size}"] = np.asarray(crop(source))
    for number, (height, width) in enumerate([(10, 10), (9, 14)]):
        source = Image.fromarray(picture(height, width, 7 + number)[..., :3])
        tensors[f"rotate.input.{number}"] = np.asarray(source)
        for angle in ANGLES:
            tensors[f"rotate.{number}.{angle}"] = np.asarray(v2.functional.rotate(source, angle))
    source = Image.fromarray(tensors["crop.input.0"])
    for number, box in enumerate(BOXES):
        tensors[f"box.{number}"] = np.asarray(v2.functional.resized_crop(source, *box, size=[12, 9]))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = saved(Image.fromarray(picture(8, 13, 20)[..., :3]), "jpeg", quality=95, subsampling=0, exif=exif)
        tensors[f"exif.{orientation}.file"] = np.frombuffer(file, np.uint8)
        tensors[f"exif.{orientation}"] = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))))
    return {name: np.ascontiguousarray(t) for name, t in tensors.items()}


def limit_of(name: str) -> int | None:
    """Levels by which a tensor may differ; None: by any."""
    if name.endswith(".file"):
        return None  # zlib and libjpeg versions write other bytes
    return 2 if name.startswith(("jpeg", "exif")) else 0


def write_or_check(path: Path, tensors: dict, limit=lambda name: 0) -> None:
    """Writes the tensors; with --check on the command line compares them with the file, and ends the program."""
    if "--check" not in sys.argv:
        save_file(tensors, path)
        print(f"{path.name}: {path.stat().st_size} bytes")
        return
    stored = load_file(path)
    bad = sorted(set(stored) ^ set(tensors))
    for name in set(stored) & set(tensors):
        if limit(name) is None:
            continue
        if stored[name].shape != tensors[name].shape or np.abs(stored[name].astype(int) - tensors[name]).max() > limit(name):
            bad.append(name)
    sys.exit(f"{path.name}: differs in {', '.join(bad)}" if bad else 0)


if __name__ == "__main__":
    write_or_check(PATH, golden(), limit_of)
