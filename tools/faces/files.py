"""Safetensors and PNG files, written complete or not at all. NumPy only."""
from __future__ import annotations

import json
import os
import struct
import tempfile
import zlib
from typing import Dict, Tuple

import numpy as np

DTYPES = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}


class FileError(Exception):
    """A file is not as it must be; the message is for the user."""


def write_atomically(path: str, contents: bytes) -> None:
    """Writes into a temporary file beside `path` and renames it."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".faces-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_safetensors(path: str, tensors: Dict[str, np.ndarray], metadata: Dict[str, str]) -> None:
    """Eight bytes of length, a JSON header, the data in the order of the names."""
    codes = {dtype: code for code, dtype in DTYPES.items()}
    header: Dict[str, object] = {"__metadata__": metadata}
    parts, offset = [], 0
    for name in sorted(tensors):
        array = np.asarray(tensors[name])
        data = array.tobytes()
        header[name] = {"dtype": codes[array.dtype], "shape": list(array.shape),
                        "data_offsets": [offset, offset + len(data)]}
        parts.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    write_atomically(path, len(text).to_bytes(8, "little") + text + b"".join(parts))


def read_safetensors(path: str) -> Tuple[Dict[str, np.ndarray], Dict[str, str]]:
    """Tensors as float32, and the metadata."""
    try:
        with open(path, "rb") as file:
            contents = file.read()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None
    try:
        start = 8 + int.from_bytes(contents[:8], "little")
        header = json.loads(contents[8:start])
        metadata = header.pop("__metadata__", {})
        tensors = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            values = np.frombuffer(contents[start + begin:start + end], DTYPES[entry["dtype"]])
            tensors[name] = values.reshape(entry["shape"]).astype(np.float32)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise FileError(f"{path} is no safetensors file of floating-point tensors: {error}") from None
    return tensors, metadata


def write_png(path: str, image: np.ndarray) -> None:
    """An H x W x 3 picture of bytes."""
    height, width, channels = image.shape
    assert image.dtype == np.uint8 and channels == 3
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # filter type 0 before every row
    rows[:, 1:] = image.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    write_atomically(path, b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + chunk(b"IEND", b""))


def sheet(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Pictures (N x H x W x 3, bytes) side by side on white, row by row."""
    count, height, width, _ = images.shape
    rows = -(-count // columns)
    result = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        result[top:top + height, left:left + width] = image
    return result
