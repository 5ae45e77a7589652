"""The requirement files are exact, agree with each other, and cover what pyproject.toml declares."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
FILES = (
    "requirements-local.txt",
    "requirements-colab.txt",
    "environments/weights.txt",
    "environments/more.txt",
    "environments/no-torch.txt",
    "environments/scale.txt",
)


def pins(name: str) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    found = {}
    for requirement in map(Requirement, filter(None, lines)):
        specifiers = list(requirement.specifier)
        assert [specifier.operator for specifier in specifiers] == ["=="], f"{name}: {requirement} is not one exact pin"
        found[_canonical(requirement.name)] = specifiers[0].version
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_an_exact_pin(name: str) -> None:
    assert pins(name)


def test_colab_and_local_never_disagree() -> None:
    local, colab = pins("requirements-local.txt"), pins("requirements-colab.txt")
    shared = local.keys() & colab.keys()
    assert len(shared) > 15
    assert {name: local[name] for name in shared} == {name: colab[name] for name in shared}


def test_the_environment_without_torch_is_a_part_of_the_local_one() -> None:
    local, small = pins("requirements-local.txt"), pins("environments/no-torch.txt")
    assert "torch" not in small
    assert {name: small[name] for name in small.keys() & local.keys()}.items() <= local.items()
    assert small.keys() - local.keys() == {"ipykernel"}, "which JupyterLab brings elsewhere"


def test_colab_stays_inside_what_unsloth_accepts() -> None:
    colab = pins("requirements-colab.txt")
    assert Version(colab["torch"]) < Version("2.15")
    assert Version(colab["transformers"]) <= Version("5.17.0")
    assert Version(colab["trl"]) <= Version("1.15.0")
    assert Version(colab["datasets"]) < Version("5")
    assert Version(colab["peft"]) >= Version("0.18")


def test_pins_satisfy_the_ranges_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    local = pins("requirements-local.txt") | pins("environments/scale.txt")
    extras = project["optional-dependencies"].values()
    for requirement in map(Requirement, [*project["dependencies"], *(line for lines in extras for line in lines)]):
        name = _canonical(requirement.name)
        assert name in local, f"pyproject.toml declares {name}, and no requirement file pins it"
        assert requirement.specifier.contains(local[name]), f"{requirement} does not admit the pin {local[name]}"


#: What Colab has a newer one of, or has no use for: the microphone is the browser's.
NOT_IN_COLAB = {"numpy", "sounddevice"}


def test_colab_has_what_its_rooms_import() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in ("train", "speech", "tts", "gguf") for line in project["optional-dependencies"][extra]]
    needed = {_canonical(Requirement(line).name) for line in [*project["dependencies"], *extras]}
    assert needed - pins("requirements-colab.txt").keys() - NOT_IN_COLAB == set()


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize("torch", ["", "cpu"])
def test_make_setup_says_its_size_and_can_leave_cuda_out(torch: str, tmp_path: Path) -> None:
    command = ["make", "--dry-run", "setup", f"VENV={tmp_path}", f"TORCH={torch}"]
    planned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "about 3.5 GB, or 7.5 GB if pip takes PyTorch for CUDA" in planned
    assert ("https://download.pytorch.org/whl/cpu" in planned) == (torch == "cpu")


@pytest.mark.parametrize("name", ["two-nodes", "fsdp"])
def test_accelerate_understands_the_configurations(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / "environments" / "accelerate" / f"{name}.yaml"))
    assert config.num_processes > 1
    assert bool(config.fsdp_config) == (name == "fsdp")
