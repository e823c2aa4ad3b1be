"""An ARM Linux in a folder: Debian's QEMU and arm64 packages, the aarch64 wheels of the project's own pins.

Nothing is installed on the host, and nothing needs root: apt keeps its state in the folder.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bitrow.errors import BitrowError

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
QEMU = "qemu-user-static"
PACKAGES = (QEMU, "python3:arm64", "libstdc++6:arm64", "binutils:arm64")
WHEELS = ("jax", "jaxlib", "numpy", "jaxtyping", "safetensors", "flax", "optax")
PYTHONS = ("3.11", "3.12", "3.13")


class Machine(NamedTuple):
    """Where everything lies below one folder."""

    folder: Path

    @property
    def apt(self) -> Path:
        """apt's state and the downloaded packages."""
        return self.folder / "apt"

    @property
    def root(self) -> Path:
        """The emulated machine's /."""
        return self.folder / "root"

    @property
    def site(self) -> Path:
        """The unpacked wheels."""
        return self.folder / "site"

    @property
    def qemu(self) -> Path:
        """The emulator."""
        return self.folder / "qemu-aarch64-static"

    def version(self) -> str:
        """Python's version there, as in "3.11".

        Raises:
            BitrowError: Debian's default Python is none that bitrow runs on.
        """
        link = self.root / "usr/bin/python3"
        found = str(link.readlink()).removeprefix("python") if link.is_symlink() else "none"
        if found not in PYTHONS:
            raise BitrowError(f"{link}: found Python {found}, expected one of {', '.join(PYTHONS)}")
        return found

    def command(self, program: str, cpu: str, *arguments: str) -> list[str]:
        """A program of the emulated machine, as the host starts it."""
        return [str(self.qemu), "-cpu", cpu, "-L", str(self.root), str(self.root / "usr/bin" / program), *arguments]


def run(*command: str) -> str:
    """Standard output of a command of the host.

    Raises:
        BitrowError: it is not installed, or failed; with the last line that it wrote.
    """
    words = f"{Path(command[0]).name} {next((word for word in command[1:] if not word.startswith('-')), '')}".strip()
    if not shutil.which(command[0]):
        raise BitrowError(f"{command[0]}: found no such program, expected Debian's (make other-isa needs apt and dpkg)")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip() or result.stdout.strip() or "no message").splitlines()[-1]
        raise BitrowError(f"{words}: found exit status {result.returncode} ({last[:200]}), expected 0")
    return result.stdout


def apt_command(machine: Machine, host: str, *arguments: str) -> list[str]:
    """apt-get for packages of both architectures, as if nothing were installed yet."""
    options = {
        "Dir::State": machine.apt,
        "Dir::State::status": machine.apt / "status",
        "Dir::State::Lists": machine.apt / "lists",
        "Dir::Cache": machine.apt,
        "APT::Install-Recommends": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "APT::Sandbox::User": "root",  # _apt may not enter the folder
    }
    several = ["-o", f"APT::Architectures::={host}", "-o", "APT::Architectures::=arm64"]
    return ["apt-get", *arguments, "-q", "-y", *several, *(f"-o{key}={value}" for key, value in options.items())]


def pip_command(machine: Machine, version: str, pins: Sequence[str]) -> list[str]:
    """pip for wheels of another machine than this one."""
    tags = ["manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, 37))]
    return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade",
            "--only-binary=:all:", "--no-compile", "--target", str(machine.site), "--implementation", "cp",
            "--python-version", version, *(f"--platform={tag}" for tag in tags), *pins]  # fmt: skip


def pinned(text: str) -> list[str]:
    """The project's own pins of what the kernels import, from the text of its lock file."""
    every = {line.partition("==")[0]: line.partition(" ")[0] for line in text.splitlines()}
    missing = [name for name in WHEELS if name not in every]
    if missing:
        raise BitrowError(f"{LOCK.name}: found no {missing[0]}, expected its pinned version")
    return [every[name] for name in WHEELS]


def host_architecture() -> str:
    """Debian's name of this machine.

    Raises:
        BitrowError: not a Linux with dpkg, or itself an ARM machine.
    """
    if platform.system() != "Linux":
        raise BitrowError(f"make other-isa: found {platform.system()}, expected Linux with Debian's packages")
    found = run("dpkg", "--print-architecture").strip()
    if found == "arm64":
        raise BitrowError("make other-isa: found an ARM machine, expected another: run bitrow certify here")
    return found


def check_lists(machine: Machine) -> None:
    """apt-get update calls it no error if it reached nothing.

    Raises:
        BitrowError: no mirror was reached, or none that has arm64.
    """
    if not any((machine.apt / "lists").glob("*binary-arm64_Packages*")):
        raise BitrowError("apt-get update: found no list of arm64 packages, expected one of the configured mirrors'")


def unpack_packages(machine: Machine) -> None:
    """arm64 packages into the root; of QEMU's, the one program."""
    for package in sorted((machine.apt / "archives").glob("*_arm64.deb")):
        run("dpkg-deb", "-x", str(package), str(machine.root))
    package = next((machine.apt / "archives").glob(f"{QEMU}_*.deb"))
    inside = f"./usr/bin/{machine.qemu.name}"
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            if member.name == inside and (stream := archive.extractfile(member)):
                machine.qemu.write_bytes(stream.read())
    machine.qemu.chmod(0o755)


def unfinished(machine: Machine, name: str, wanted: str) -> Path | None:
    """The stamp to write `wanted` to once a step is done; None if that was done before."""
    stamp = machine.folder / f".{name}"
    return None if stamp.exists() and stamp.read_text() == wanted else stamp


def install(machine: Machine) -> None:
    """Download and unpack what is not there yet; a run that was stopped goes on where it was.

    Raises:
        BitrowError: no apt, no network, no such package or wheel.
    """
    host, pins = host_architecture(), pinned(LOCK.read_text())
    for folder in (machine.apt / "lists/partial", machine.apt / "archives/partial", machine.root):
        folder.mkdir(parents=True, exist_ok=True)
    (machine.apt / "status").touch()
    wanted = " ".join(PACKAGES)
    if stamp := unfinished(machine, "packages", wanted):
        print(f"Debian's packages: {wanted}", flush=True)
        run(*apt_command(machine, host, "update"))
        check_lists(machine)
        run(*apt_command(machine, host, "install", "--download-only", *PACKAGES))
        unpack_packages(machine)
        stamp.write_text(wanted)
    version = machine.version()
    wanted = " ".join([version, *pins])
    if stamp := unfinished(machine, "wheels", wanted):
        print(f"wheels for Python {version}: {' '.join(pins)}", flush=True)
        run(*pip_command(machine, version, pins))
        stamp.write_text(wanted)
