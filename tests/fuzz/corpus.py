#!/usr/bin/env python3
"""Writes the small corpora that fuzzing starts from: one or two good files of each format, and bad ones.

    tests/fuzz/corpus.py            # writes tests/fuzz/corpus/NAME/…
"""

import gzip
import json
import struct
import zlib
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"


def write(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def safetensors(tensors, metadata=None):
    """tensors: {name: (dtype, shape, bytes)}."""
    header, numbers = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(numbers), len(numbers) + len(raw)]}
        numbers += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + numbers


def png(width, height, colour, depth, rows, extra=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# 8×8 grey, baseline, from PIL's Image.new("L", (8, 8), 130).save(…, quality=50).
JPEG_TABLES = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffdb004300100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d3c39"
                            "33383740485c4e404457453738506d51575f626768673e4d71797064785c656763ffc0000b080008000801011100ffc4001f0000010501"
                            "010101010100000000000000000102030405060708090a0bffc400b5100002010303020403050504040000017d01020300041105122131"
                            "410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a4344454647484"
                            "94a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3"
                            "b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffda0008010100003f"
                            "0000ffd9")


def main():
    one = {"a": ("F32", [2], struct.pack("<2f", 1, 2)), "b": ("I64", [1], struct.pack("<q", 3)), "c": ("U8", [2, 2], b"abcd")}
    write("safetensors", "good", safetensors(one, {"key": "text \u00e9 \\ \""}))
    write("safetensors", "empty", safetensors({}))
    write("safetensors", "huge", safetensors({"a": ("F32", [1 << 40, 1 << 20], b"")}))

    labels = struct.pack(">II", 0x801, 4) + bytes([0, 1, 2, 9])
    images = struct.pack(">IIII", 0x803, 2, 3, 4) + bytes(range(24))
    write("idx", "good-labels", labels)
    write("idx", "good-images", images)
    write("idx", "good-images.gz", gzip.compress(images, mtime=0))
    write("idx", "huge", struct.pack(">IIII", 0x803, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF))

    write("cifar", "good-ten", bytes([7]) + bytes(3072))
    write("cifar", "good-hundred", bytes([19, 99]) + bytes(3072))
    write("cifar", "short", bytes(3000))

    metadata = {"format": "fulcrum-pack", "version": "1", "classes": json.dumps(["cat", "dog"])}
    pack = {"labels": ("I64", [2], struct.pack("<2q", 0, 1)), "images": ("U8", [2, 2, 2, 1], bytes(8))}
    write("pack", "good", safetensors(pack, metadata))
    write("pack", "bad_label", safetensors({**pack, "labels": ("I64", [2], struct.pack("<2q", 0, 2))}, metadata))

    write("list", "good", "train/a.jpg 0\ntrain/my cat.png\t1\n")
    write("list", "leaves", "../a.jpg 0\n/etc/passwd 1\na/../../b.jpg 0\n")
    write("list", "labels", "a.jpg 99999999999999999999\nb.jpg -1\nc.jpg\n\n 0\n")

    inat = {"images": [{"id": 7, "file_name": "train/a.jpg"}, {"id": 8, "file_name": "../b.jpg", "width": 1.5}],
            "annotations": [{"id": 9, "image_id": 7, "category_id": 0}, {"id": 10, "image_id": 8, "category_id": 1}],
            "categories": [{"id": 0, "name": "Turdus merula"}, {"id": 1, "name": "<script>"}], "info": None}
    write("annotations", "good", json.dumps(inat))
    write("annotations", "kinds", '{"images": {"id": "7"}, "annotations": [[[]], {"image_id": 1e300}], "categories": [null]}')
    write("annotations", "deep", "[" * 500)
    write("csv", "good", "split,filename,y,location\ntrain,a.jpg,0,1\ntest,\"b,\"\"c\"\".jpg\",1,2\ntrain,d.jpg,1,3\n\fy,name\n0,cat\n1,dog\n")
    write("csv", "bad", "filename,split,y\n../a.jpg,train,-1\nb.jpg,tset,99999999999\n\"open")
    write("keys", "good", "images/0/a,b.jpg\nimages/1/c.jpg\n\fimages/0/a,b.jpg 1\nimages/1/c.jpg 0\n\fT-Shirt\nShirt\n")
    write("keys", "bad", "../a.jpg\n/etc/passwd\n\f../a.jpg 0\n/etc/passwd x\nb 99999999999999999999\n\fA\nA\n")

    write("tables", "good-matrix", "# a b c\n0.8 0.2 0\n0.1, 0.9, 0\n0 0 1\n")
    write("tables", "good-indices", "# fulcrum indices: 3 samples\n0\n17\n999\n")
    write("tables", "numbers", "nan inf -1\n1e999 0x10 1\n")

    grey = png(3, 2, 0, 8, b"\0abc\0def")
    palette = struct.pack(">I", 6) + b"PLTE" + b"abcdef" + struct.pack(">I", zlib.crc32(b"PLTEabcdef"))
    kinds = {"grey": grey, "deep": png(1, 1, 0, 16, b"\0ab"), "rgba": png(1, 1, 6, 8, b"\0abcd"),
             "palette": png(2, 1, 3, 1, b"\0\x40", palette), "huge": png(1 << 30, 1 << 30, 2, 8, b"")}
    for name, data in kinds.items():
        write("png", name, data)
    write("image", "good.png", grey)
    write("image", "good.jpg", JPEG_TABLES)
    write("jpeg", "good", JPEG_TABLES)
    write("jpeg", "cut", JPEG_TABLES[:200])
    write("jpeg", "huge", JPEG_TABLES.replace(bytes.fromhex("080008000801"), bytes.fromhex("08ffffffff01")))

    write("recipe", "good", "[data]\nname = 'cifar10'\nimb_factor = 0.01\n[optim]\nlr = 0.1\n")
    write("recipe", "schedule", "[schedule]\nkind = 'multistep'\nmilestones = [10, 20]\nfactors = [0.1, 1e-3]\n")
    write("recipe", "kinds", "train.epochs = 'ten'\nmodel = 3\n[risk]\nlambda = nan\n")
    write("recipe", "letter-before-a-key", "\uFCFFname = 1\n")  # apps/toml.h
    write("grid", "good", "title = 'Mine'\nrecipe = 'fashion-mnist-lt'\nseeds = 2\n[[variant]]\nname = '0.5'\n"
          "set = ['data.imb_factor=0.5']\n[[method]]\nname = 'ce'\ntitle = 'Cross entropy'\n[[published]]\n"
          "variant = '0.5'\nmethod = 'ce'\ntop1 = 70.0\nsource = 'x'\n")
    write("grid", "kinds", "title = 3\nvariant = 'x'\n[[method]]\n")

    row = {"epoch": 0, "lr": 0.1, "train": {"loss": 1.5, "top1": 0.5, "objective": 1}, "class_weight_share": [0.5, 0.5],
           "test": {"top1": 0.5, "balanced": 0.5, "loss": 1, "per_class": [0.5, None]}, "weight_histogram": [0] * 48}
    write("metrics", "good", json.dumps(row) + "\n")
    write("metrics", "data", json.dumps({"name": "x", "classes": ["<script>", "b"], "train_counts": [1, 2],
                                         "test_counts": [1, 1], "image_shape": [2, 2, 1]}))
    write("metrics", "kinds", '{"epoch": "0", "train": []}\n[1]\nnull\n{"epoch": 1e300')

    progress = json.dumps({"epoch": 1, "batch": 2, "best": None, "latest": {"epoch": 0}})
    state = {"format": "fulcrum-run-1", "config": "[optim]\nlr = 0.05\n", "data": "1", "progress": progress}
    write("checkpoint", "good", safetensors({"fc.bias": ("F32", [2], bytes(8))}, state))
    write("checkpoint", "checksum", safetensors({"ema.fc.bias": ("F32", [2], bytes(8))}, {**state, "checksum": "0"}))


if __name__ == "__main__":
    main()
