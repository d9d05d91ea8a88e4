"""Training recipes: small TOML files, from the package or the user.

description = "What it is for."
base = "dccrn"              # another recipe that supplies the settings not given here
preset = "dccrn-e"          # the network

[network]                   # fields of its configuration that override the preset's
[mixing]                    # how examples are made: `MixingOptions`
[loss]                      # terms and weights: `LossOptions`; replaces the base's
[training]                  # how to train: `TrainOptions`
"""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from dccrn_cli.errors import OptionError
from dccrn_cli.mixing.mixer import MixingOptions
from dccrn_cli.nn.config import PRESETS, NetworkConfig, preset
from dccrn_cli.training.losses import TERMS, LossOptions
from dccrn_cli.training.train_options import TrainOptions
from dccrn_cli.utils.paths import is_file
from dccrn_cli.utils.toml_options import from_table

SUFFIX = ".toml"
DEFAULT_RECIPE = DEFAULT_PRESET = "dccrn-small"

_TEXTS = ("description", "base", "preset")
_TABLES = ("network", "mixing", "loss", "training")

Table = dict[str, Any]


@dataclass(frozen=True)
class TrainingRecipe:
    """Everything that defines a training run, except its data.

    Attributes:
        name: name of the recipe.
        description: its purpose.
        preset: preset of the network.
        network: fields of its configuration that override the preset's.
        mixing, loss, training: options for making examples, for the loss and for training.
    """

    name: str
    description: str = ""
    preset: str = DEFAULT_PRESET
    network: Mapping[str, Any] = field(default_factory=dict)
    mixing: MixingOptions = field(default_factory=MixingOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    training: TrainOptions = field(default_factory=TrainOptions)

    def config(self) -> NetworkConfig:
        """Configuration of the network.

        Raises:
            OptionError: no such preset or field.
        """
        return from_table(preset(self.preset), self.network, "network")

    def to_toml(self) -> str:
        """The recipe as text for `read_recipe`, with every setting given."""
        tables = {
            "network": dict(self.network),
            "mixing": dataclasses.asdict(self.mixing),
            "loss": self.loss.to_dict(),
            "training": dataclasses.asdict(self.training),
        }
        lines = [f"{key} = {_toml(getattr(self, key))}" for key in ("description", "preset")]
        for name, table in tables.items():
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
        return "\n".join(lines) + "\n"


def network_settings(config: NetworkConfig) -> Table:
    """The preset closest to a configuration and the fields that differ, as in a recipe."""
    wanted = dataclasses.asdict(config)
    differing = {
        name: {key: value for key, value in wanted.items() if getattr(one, key) != value}
        for name, one in PRESETS.items()
        if type(one) is type(config)
    }
    closest = min(differing, key=lambda name: len(differing[name]))
    return {"preset": closest, "network": differing[closest]}


def recipe_names() -> list[str]:
    """Names of the recipes in the package."""
    return sorted(path.name.removesuffix(SUFFIX) for path in _folder().glob(f"*{SUFFIX}"))


def read_recipe(recipe: str | os.PathLike[str], changes: Mapping[str, Any] | None = None) -> TrainingRecipe:
    """Read a recipe by name or path.

    Args:
        changes: settings that override the recipe's, structured like its file: `{"preset": "dccrn-e",
            "training": {"lr": 1e-3}}`. Loss terms are added to those of the recipe; a combination
            replaces them.

    Raises:
        OptionError: no such recipe, or an invalid setting.
    """
    name = os.fspath(recipe)
    table = _tables_of(name)
    try:
        for key, value in (changes or {}).items():
            before = LossOptions.from_table(table.get("loss", {})).to_dict() if key == "loss" else table.get(key, {})
            if key == "loss" and "combination" in value:
                before = {name: item for name, item in before.items() if name not in TERMS}
            table[key] = {**before, **value} if key in _TABLES else value
        made = TrainingRecipe(
            Path(name).name.removesuffix(SUFFIX),
            table.get("description", ""),
            table.get("preset", DEFAULT_PRESET),
            table.get("network", {}),
            MixingOptions.from_table(table.get("mixing", {})),
            LossOptions.from_table(table.get("loss", {})),
            from_table(TrainOptions(), table.get("training", {}), "training"),
        )
        made.config()
    except OptionError as error:
        raise OptionError(f"recipe {name}: {error.message}") from None
    return made


def parse_setting(text: str) -> tuple[str, str, Any]:
    """Parse `mixing.snr_db=[0, 5]` as table, name and value; a value that is not TOML is a string.

    Raises:
        OptionError: the text does not have this form.
    """
    key, equals, value = text.partition("=")
    table, dot, name = key.strip().partition(".")
    if not equals or not dot or table not in _TABLES or not name:
        raise OptionError(f"{text!r} must be TABLE.NAME=VALUE, where TABLE is one of {', '.join(_TABLES)}")
    try:
        return table, _plain_name(table, name), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return table, _plain_name(table, name), value.strip()
    except RecursionError:
        raise OptionError(f"{table}.{name}: nested too deeply") from None


def _tables_of(name: str, seen: tuple[str, ...] = ()) -> Table:
    """Tables of a recipe file merged with those of its bases."""
    if name in seen:
        raise OptionError(f"recipe {name}: is based on itself")
    path = _folder() / f"{name}{SUFFIX}"
    if os.sep in name or not is_file(path):
        path = Path(name)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(recipe_names())
        raise OptionError(f"no recipe {name!r}: neither a readable file nor one of {known}") from error
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"recipe {name}: {error}") from None
    except RecursionError:
        raise OptionError(f"recipe {name}: nested too deeply") from None
    for key, value in table.items():
        if key not in (*_TEXTS, *_TABLES):
            raise OptionError(f"recipe {name}: no setting named {key!r}; choose from {', '.join((*_TEXTS, *_TABLES))}")
        if not isinstance(value, dict if key in _TABLES else str):
            raise OptionError(f"recipe {name}: {key} must be a {'table' if key in _TABLES else 'string'}")
        if isinstance(value, dict):
            table[key] = {_plain_name(key, setting): item for setting, item in value.items()}
    if "base" not in table:
        return table
    base = table.pop("base")
    beside = path.parent / f"{base}{SUFFIX}"
    below = _tables_of(str(beside) if is_file(beside) and beside.parent != _folder() else base, (*seen, name))
    for key, value in table.items():
        below[key] = {**below.get(key, {}), **value} if key in ("network", "mixing", "training") else value
    return below


def _folder() -> Path:
    return Path(str(resources.files("dccrn_cli"))) / "recipes"


def _toml(value: Any) -> str:
    """Format a plain value as TOML."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _plain_name(table: str, name: str) -> str:
    """Field name of a setting; loss terms keep their dashes."""
    return name if table == "loss" else name.replace("-", "_")
