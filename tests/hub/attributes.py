"""Which files go by LFS: by ``.gitattributes``, by size, or because they are not text."""

import codecs
from collections.abc import Iterable
from fnmatch import fnmatchcase

# The real threshold is 10 MiB. A smaller one lets small tests see both ways.
LFS_THRESHOLD = 256 * 1024

LFS = "filter=lfs diff=lfs merge=lfs -text"
ALWAYS = (
    "*.7z *.arrow *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.lfs.* *.mlmodel *.model *.msgpack *.npy *.npz *.onnx "
    "*.ot *.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* *.tar.* *.tar *.tflite *.tgz "
    "*.wasm *.xz *.zip *.zst *tfevents*"
).split()
MEDIA = (
    "*.lz4 *.mds *.pcm *.sam *.raw *.aac *.flac *.mp3 *.ogg *.wav *.bmp *.gif *.png *.tiff *.jpg *.jpeg *.webp "
    "*.mp4 *.webm"
).split()


def default_attributes(repo_type: str) -> str:
    """The ``.gitattributes`` a new repository begins with."""
    patterns = ALWAYS + (MEDIA if repo_type == "dataset" else [])
    return "".join(f"{pattern} {LFS}\n" for pattern in patterns)


def lfs_patterns(attributes: str) -> list[str]:
    return [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line.split()]


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern names the path. As in git, one without a slash is about the name, in whatever folder."""
    name = path.rsplit("/", 1)[-1]
    return any(fnmatchcase(path if "/" in pattern else name, pattern.replace("**/*", "*")) for pattern in patterns)


def ignored(path: str, gitignore: str) -> bool:
    """Whether ``.gitignore`` names the path or a folder above it. Exceptions by ``!`` are not read."""
    lines = [line.strip().strip("/") for line in gitignore.splitlines()]
    patterns = [line for line in lines if line and line[0] not in "#!"]
    parts = path.split("/")
    return any(matches("/".join(parts[: depth + 1]), patterns) for depth in range(len(parts)))


def is_text(sample: bytes) -> bool:
    """Whether the beginning of a file is text. It may end in the middle of a character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return b"\0" not in sample


def goes_by_lfs(path: str, size: int, sample: bytes, attributes: str) -> bool:
    return size > LFS_THRESHOLD or matches(path, lfs_patterns(attributes)) or not is_text(sample)
