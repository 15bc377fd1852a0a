#!/usr/bin/env python3
"""Turns PyTorch checkpoints into the safetensors files that Fulcrum reads, and back.

    export_torch.py checkpoint.pth model.safetensors            a state dict, or a dict that holds one
    export_torch.py checkpoint.pth model.safetensors --rename linear=fc
    export_torch.py torchvision:resnet50 model.safetensors      torchvision's or timm's model, pretrained
    export_torch.py timm:resnet18.a1_in1k model.safetensors --random      ... or with initial weights
    export_torch.py model.safetensors model.pt                  back: a state dict for load_state_dict

Names stay PyTorch's, which are Fulcrum's, but for the prefixes of DataParallel ("module.") and torch.compile
("_orig_mod."), which go.  Checkpoints are read with weights_only=True: a file that would run code is refused.  On the
way back the optimiser and the state of a run (optim.*, state.*) are left out.  Needs torch and safetensors
(scripts/peers/setup.sh), and torchvision or timm for their models.
"""

import argparse
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

CONTAINERS = ("state_dict", "model_state_dict", "model", "net")  # where training scripts put the state dict
PREFIXES = ("module.", "_orig_mod.")
DTYPES = {torch.float16: torch.float32, torch.bool: torch.uint8}  # what Fulcrum does not hold, and what can
READABLE = (torch.float32, torch.bfloat16, torch.float64, torch.uint8, torch.int32, torch.int64)


class ExportError(Exception):
    pass


def is_state_dict(value) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(t, torch.Tensor) for t in value.values())


def read_checkpoint(path: Path, key: str | None) -> dict:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # whatever is wrong with the file, pickle and zip say it in their own ways
        reason = str(e).strip().split("\n")[0]
        raise ExportError(f"{path}: expected a file that torch.load(weights_only=True) reads, got: {reason}") from e
    if key is None and is_state_dict(content):
        return content
    found = list(content) if isinstance(content, dict) else []
    for name in [key] if key else CONTAINERS:
        if name in found and is_state_dict(content[name]):
            return content[name]
    wanted = f"'{key}'" if key else ", ".join(f"'{name}'" for name in CONTAINERS)
    got = f"the keys {', '.join(map(repr, found[:10]))}" if found else type(content).__name__
    raise ExportError(f"{path}: expected a state dict, or one under {wanted}; got {got} (--key names another)")


def named_model(source: str, random: bool) -> dict:
    library, name = source.split(":", 1)
    try:
        if library == "torchvision":
            import torchvision

            model = torchvision.models.get_model(name, weights=None if random else "DEFAULT")
        else:
            import timm

            model = timm.create_model(name, pretrained=not random)
    except ImportError as e:
        raise ExportError(f"{source}: expected {library} to be installed, got: {e}") from e
    except Exception as e:  # an unknown name, a failed download
        raise ExportError(f"{source}: {e}") from e
    return model.state_dict()


def strip_prefixes(name: str) -> str:
    while name.startswith(PREFIXES):
        name = name.removeprefix(PREFIXES[0]).removeprefix(PREFIXES[1])
    return name


def exported(state: dict, renames: list[tuple[str, str]]) -> dict:
    """The tensors under their new names, each with memory of its own."""
    out, unused = {}, dict(renames)
    for key, tensor in state.items():
        name = strip_prefixes(key)
        for old, new in renames:
            if f"{name}.".startswith(f"{old}."):
                name = new + name[len(old) :]
                unused.pop(old, None)
                break
        if name in out:
            raise ExportError(f"two tensors would be named {name}, one of them {key}")
        dtype = DTYPES.get(tensor.dtype, tensor.dtype)
        if dtype not in READABLE:
            raise ExportError(f"{key}: expected a dtype that Fulcrum holds, got {tensor.dtype}")
        if tensor.dim() > 5 or 0 in tensor.shape:
            raise ExportError(f"{key}: expected up to five sizes of at least 1, got {list(tensor.shape)}")
        out[name] = tensor.detach().to(dtype).contiguous().clone()
    for old in unused:
        raise ExportError(f"--rename: expected a module of this model, got {old}")
    return out


def model_part(path: Path) -> dict:
    """What is not the optimiser's or the run's; moving averages (ema.NAME) in the place of what they average."""
    try:
        tensors = load_file(path)
    except SafetensorError as e:
        raise ExportError(f"{path}: {e}") from e
    averages = {k.removeprefix("ema."): t for k, t in tensors.items() if k.startswith("ema.")}
    return {k: t for k, t in tensors.items() if not k.startswith(("optim.", "state.", "ema."))} | averages


def renaming(text: str) -> tuple[str, str]:
    old, separator, new = text.partition("=")
    if not separator or not old or not new:
        raise argparse.ArgumentTypeError(f"expected OLD=NEW, got '{text}'")
    return old, new


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="checkpoint, torchvision:NAME, timm:NAME, or a safetensors file")
    parser.add_argument("target", type=Path, help="*.safetensors; or *.pt, *.pth for the way back")
    parser.add_argument("--key", help="where in the checkpoint the state dict is")
    parser.add_argument("--rename", type=renaming, action="append", default=[], metavar="OLD=NEW",
                        help="renames a module; may be repeated")
    parser.add_argument("--random", action="store_true", help="initial weights of a named model, not pretrained")
    args = parser.parse_args(argv)
    by_name = args.source.startswith(("torchvision:", "timm:"))
    back = args.source.endswith(".safetensors")
    if args.target.suffix not in ((".pt", ".pth") if back else (".safetensors",)):
        parser.error(f"target: expected {'*.pt or *.pth' if back else '*.safetensors'}, got {args.target}")
    if args.random and not by_name:
        parser.error("--random: expected a model of torchvision or timm")
    if args.key and (by_name or back):
        parser.error("--key: expected a checkpoint")
    try:
        if back:
            state = model_part(Path(args.source))
        elif by_name:
            state = named_model(args.source, args.random)
        else:
            state = read_checkpoint(Path(args.source), args.key)
        tensors = exported(state, args.rename)
        if back:
            torch.save(tensors, args.target)
        else:
            save_file(tensors, args.target, metadata={"format": "pt"})
    except (ExportError, OSError) as e:
        print(f"export_torch: {e}", file=sys.stderr)
        return 1
    print(f"{args.target}: {len(tensors)} tensors, {sum(t.numel() for t in tensors.values())} numbers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
