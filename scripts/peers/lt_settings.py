"""What `fulcrum reproduce` trains, read from the same files: a grid's recipe, its variant and its method, scaled to
another number of epochs.  For the twin of whole training runs (torch_train.py).

    settings = of_method("cifar10-lt", "ldam-drw", "0.01", epochs=15)     # {"loss.name": "ldam", "train.epochs": 15, …}
    differences(settings, run / "config.toml")                            # [] where a run of Fulcrum has the same
"""

import tomllib
from pathlib import Path

APPS = Path(__file__).resolve().parents[2] / "apps"

# The keys that the twin knows, with Fulcrum's defaults; of the others it takes no notice where they are at theirs.
DEFAULTS = {
    "data.name": "fashion-mnist", "data.imb_type": "none", "data.imb_factor": 1.0, "data.pad": 0, "data.flip": False,
    "model.name": "resnet32", "model.dropout": 0.0,
    "loss.name": "ce", "loss.class_weights": "none", "loss.cb_beta": 0.9999, "loss.drw_epoch": 0,
    "loss.ldam_max_m": 0.5, "loss.ldam_scale": 30.0, "risk.name": "mean",
    "optim.name": "sgd", "optim.lr": 0.1, "optim.momentum": 0.9, "optim.weight_decay": 2e-4,
    "schedule.kind": "multistep", "schedule.milestones": [], "schedule.gamma": 0.1, "schedule.warmup": 0,
    "train.epochs": 200, "train.batch_size": 128,
}
KNOWN_VALUES = {
    "data.name": ["cifar10"], "data.imb_type": ["exp", "step"], "loss.name": ["ce", "ldam"],
    "loss.class_weights": ["none", "balanced"], "risk.name": ["mean"], "optim.name": ["sgd"],
    "schedule.kind": ["multistep"],
}
EPOCHS = ["schedule.warmup", "loss.drw_epoch"]  # move with the number of epochs, as the milestones do


def flat(tables: dict) -> dict:
    return {f"{section}.{key}": value for section, table in tables.items() for key, value in table.items()}


def read(path: Path) -> dict:
    with open(path, "rb") as file:
        return tomllib.load(file)


def parsed(setting: str) -> tuple:
    """"key=value" of a grid: the value is TOML, or a string without quotes."""
    key, value = setting.split("=", 1)
    try:
        return key, tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return key, value


def named(rows: list, name: str, what: str) -> dict:
    for row in rows:
        if row["name"] == name:
            return row
    raise SystemExit(f"{what}: expected one of {', '.join(row['name'] for row in rows)}, got {name!r}")


def checked(settings: dict) -> dict:
    for key, value in settings.items():
        if key not in DEFAULTS:
            raise SystemExit(f"{key} = {value!r}: the twin has no such setting")
        if key in KNOWN_VALUES and value not in KNOWN_VALUES[key]:
            raise SystemExit(f"{key}: the twin expects one of {', '.join(KNOWN_VALUES[key])}, got {value!r}")
    return settings


def scaled(settings: dict, epochs: int) -> dict:
    """As `--epochs` of `fulcrum reproduce` does it: every epoch times new/old, rounded down."""
    old = settings["train.epochs"]
    moved = {key: settings[key] * epochs // old for key in EPOCHS}
    milestones = [m * epochs // old for m in settings["schedule.milestones"]]
    return {**settings, **moved, "schedule.milestones": milestones, "train.epochs": epochs}


def of_method(grid: str, method: str, variant: str, epochs: int | None = None) -> dict:
    file = read(APPS / "grids" / f"{grid}.toml")
    recipe = flat(read(APPS / "recipes" / f"{file['recipe']}.toml"))
    settings = {**DEFAULTS, **{k: v for k, v in recipe.items() if not k.startswith(("loss.", "risk."))}}
    for row in (named(file["variant"], variant, "--ratio"), named(file["method"], method, "--methods")):
        settings.update(parsed(s) for s in row.get("set", []))
    return scaled(checked(settings), epochs or settings["train.epochs"])


def differences(settings: dict, config: Path) -> list:
    stored = flat(read(config))
    return [f"{key}: twin {value!r}, {config} {stored.get(key)!r}" for key, value in settings.items()
            if stored.get(key) != value]
