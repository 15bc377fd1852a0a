"""Models that the program trained, for predictions in Python; fulcrum exports load_model."""

import json
import os
import re
from typing import List, NamedTuple, Tuple

from . import _core


class ModelInputs(NamedTuple):
    """What a network was trained on: how to make its images, and what its outputs mean."""

    image_shape: "Tuple[int, int, int]"  # (H, W, C)
    mean: "List[float]"  # of each channel, in units of pixel / 255
    stddev: "List[float]"
    class_names: "List[str]"
    logit_scale: float = 1.0  # what the softmax takes the logits by; not 1 for LDAM's cosines

    def prepare(self, images):
        """u8 [N, H, W, C], an array or a tensor -> f32: (x / 255 − mean) / stddev."""
        import numpy as np

        from . import tensor

        if tuple(images.shape[1:]) != tuple(self.image_shape) or str(images.dtype) not in ("u8", "uint8", "torch.uint8"):
            raise _core.Error(f"[load_model] expected images u8 [N, {', '.join(map(str, self.image_shape))}], got "
                              f"{images.dtype} {list(images.shape)}")
        pixels = np.asarray(images, np.float32) / np.float32(255)
        return tensor((pixels - np.float32(self.mean)) / np.float32(self.stddev), dtype="f32")


def load_model(path) -> "Tuple[_core.Classifier, ModelInputs]":
    """The network of a run's directory or of one of its files, in evaluation mode on the CPU, and what it was trained on.

        model, inputs = fulcrum.load_model("runs/first")
        with fulcrum.inference_mode():
            p = F.softmax(inputs.logit_scale * model(inputs.prepare(images)))

    Of a directory it takes last.safetensors, as the program does, with the averaged weights if the run keeps them, or else
    best.safetensors. Raises Error if the file lacks the settings and inputs that the program writes.
    """
    file = _file_of(os.fspath(path))
    metadata = _core.load_metadata(file)
    for name in ("config", "inputs"):
        if name not in metadata:
            raise _core.Error(f"[load_model] {file}: expected the metadata '{name}', which the program's files have; make_model and "
                              "load_state_dict take weights of other origin")
    settings, inputs = _settings(metadata["config"]), json.loads(metadata["inputs"])
    height, width, channels = inputs["shape"]
    ldam = settings["loss.name"] == "ldam"
    model = _core.make_model(settings["model.name"], classes=len(inputs["classes"]), channels=channels,
                             dropout=settings.get("model.dropout", 0.0), image=(height, width), normed_head=ldam,
                             stem=settings.get("model.stem", ""))
    model.load_state_dict(_evaluated(_core.load_file(file)))
    model.eval()
    return model, ModelInputs((height, width, channels), inputs["mean"], inputs["std"], inputs["classes"],
                              settings.get("loss.ldam_scale", 30.0) if ldam else 1.0)


def _file_of(path):
    if not os.path.isdir(path):
        return path
    files = [os.path.join(path, name) for name in ("last.safetensors", "best.safetensors")]
    found = next((file for file in files if os.path.exists(file)), None)
    if found is None:
        raise _core.Error(f"[load_model] {path}: expected a run's directory with last.safetensors or best.safetensors")
    return found


# The model's tensors, with the averages in place of what they average; without the rest of a run's state.
def _evaluated(tensors):
    model = {name: t for name, t in tensors.items() if not name.startswith(("optim.", "state.", "ema."))}
    return {**model, **{name[len("ema."):]: t for name, t in tensors.items() if name.startswith("ema.")}}


# Strings and numbers by "section.key" of the TOML that the program writes, one a line; Python has had tomllib since 3.11.
def _settings(text):
    settings, section = {}, ""
    for line in text.splitlines():
        if header := re.fullmatch(r"\[([\w.-]+)\]", line.strip()):
            section = header[1]
        elif entry := re.fullmatch(r"""(\w+) = (?:'([^']*)'|("[^"]*")|([-+.\deE]+))""", line.strip()):
            key, literal, basic, number = entry.groups()
            value = float(number) if number else json.loads(basic) if basic else literal
            settings[f"{section}.{key}"] = value
    return settings
