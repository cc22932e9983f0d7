#!/usr/bin/env python3
"""Converts a trained StyleGAN2 generator to safetensors with NVIDIA's tensor names.

    convert_stylegan2.py IN OUT.safetensors

IN is a network pickle of stylegan2-ada-pytorch or of the stylegan3 repository (its StyleGAN2 configuration), or a
checkpoint of rosinality's stylegan2-pytorch, in torch.save's old or zip format. OUT holds the exponential moving
average of the generator, and as metadata the resolution, conv_clamp (absent: no clamp) and where the weights came from.

A pickle is a program, and an ordinary reader runs it. This one looks up no name outside a short list, and what it finds
for those names are builders of its own that only store their arguments; the Python source inside NVIDIA's files is
never looked at. A file that asks for anything else is refused with the name that it asked for.

Needs Python 3.8 or newer and NumPy.
"""
from __future__ import annotations

import argparse
import collections
import io
import json
import math
import os
import pickle
import pickletools
import re
import struct
import sys
import tempfile
import zipfile
import zlib
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

try:
    import numpy as np
except ImportError:
    print("convert_stylegan2: needs NumPy, which this Python does not have", file=sys.stderr)
    sys.exit(2)


class ConversionError(Exception):
    """Something about the file is not as it must be; the message is for the user."""


class Refused(ConversionError):
    """The file asks for something that it has no business with."""


# ---- pickles, without running them ---------------------------------------------------------------------------------

DTYPES = {
    "HalfStorage": "<f2", "FloatStorage": "<f4", "DoubleStorage": "<f8", "BFloat16Storage": "bfloat16",
    "CharStorage": "<i1", "ByteStorage": "<u1", "ShortStorage": "<i2", "IntStorage": "<i4", "LongStorage": "<i8",
    "BoolStorage": "|b1",
}
LARGEST_TENSOR = 1 << 31  # elements


class StorageType(NamedTuple):
    """What torch.FloatStorage and its like stand for here: the type of the elements."""

    dtype: str

    @property
    def item_size(self) -> int:
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize


class Storage:
    """The memory of one or more tensors. In the old format its contents come after the tensors that refer to it."""

    def __init__(self, kind: StorageType, elements: int):
        self.kind = kind
        self.elements = elements
        self.contents: Optional[bytes] = None

    def fill(self, contents: bytes) -> None:
        expected = self.elements * self.kind.item_size
        if len(contents) != expected:
            raise ConversionError(f"a storage of {self.elements} elements holds {len(contents)} bytes "
                                  f"(expected {expected})")
        self.contents = contents

    def array(self) -> np.ndarray:
        if self.contents is None:
            raise ConversionError("a tensor refers to a storage that the file does not contain")
        if self.kind.dtype == "bfloat16":
            high = np.frombuffer(self.contents, "<u2").astype(np.uint32) << 16
            return high.view(np.float32)
        return np.frombuffer(self.contents, self.kind.dtype)


class Tensor(NamedTuple):
    """A view of a storage, as torch keeps it."""

    storage: Storage
    offset: int
    size: Tuple[int, ...]
    stride: Tuple[int, ...]

    def array(self) -> np.ndarray:
        memory = self.storage.array()
        if math.prod(self.size) == 0:
            return np.zeros(self.size, memory.dtype)
        if math.prod(self.size) > len(memory):
            raise ConversionError(f"a tensor of size {self.size} in a storage of {len(memory)} elements")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride))
        if last >= len(memory):
            raise ConversionError(f"a tensor of size {self.size} and stride {self.stride} at {self.offset} reaches "
                                  f"element {last} of a storage of {len(memory)}")
        strides = [step * memory.itemsize for step in self.stride]
        view = np.lib.stride_tricks.as_strided(memory[self.offset :], self.size, strides, writeable=False)
        return np.ascontiguousarray(view).reshape(self.size)


class Module:
    """What persistence.persistent_class leaves of a torch module: its class's name and its state."""

    def __init__(self, class_name: str, state: Dict[str, Any]):
        self.class_name = class_name
        self.state = state


class Attributes(dict):
    """dnnlib.util.EasyDict and argparse.Namespace: a dictionary, nothing else."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.update(state)


class ElementType:
    """numpy.dtype as pickled: a name, then a state with the byte order."""

    def __init__(self, name: Any = "f8", *_: Any):
        self.name = str(name)
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def dtype(self) -> np.dtype:
        if not re.fullmatch(r"[fiub][1248]", self.name):
            raise ConversionError(f"a NumPy scalar of type '{self.name}'")
        return np.dtype(self.order.replace("|", "").replace("=", "<") + self.name)


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    sizes_are_fine = isinstance(size, (tuple, list)) and isinstance(stride, (tuple, list)) and len(size) == len(stride)
    if not isinstance(storage, Storage) or not sizes_are_fine or not all(map(is_count, (offset, *size, *stride))):
        raise ConversionError(f"a tensor with offset {offset!r}, size {size!r} and stride {stride!r}")
    if len(size) > 8 or math.prod(size) > LARGEST_TENSOR:
        raise ConversionError(f"a tensor of size {tuple(size)} is larger than any generator has")
    return Tensor(storage, offset, tuple(size), tuple(stride))


def rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def rebuild_module(meta: Any) -> Module:
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        raise ConversionError("a persistent object without a state")
    return Module(str(meta.get("class_name")), meta["state"])


def scalar(kind: Any, contents: Any = b"") -> Any:
    if not isinstance(kind, ElementType) or not isinstance(contents, bytes) or len(contents) != kind.dtype().itemsize:
        raise ConversionError("a NumPy scalar that is none")
    return np.frombuffer(contents, kind.dtype())[0].item()


def encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ConversionError(f"text in the encoding {encoding!r}")
    return text.encode("latin1")


def storage_from_bytes(contents: Any) -> Any:
    if not isinstance(contents, bytes):
        raise ConversionError("a storage that is not made of bytes")
    return load_old_format(io.BytesIO(contents))


BUILDERS: Dict[Tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("argparse", "Namespace"): Attributes,
    ("dnnlib.util", "EasyDict"): Attributes,
    ("numpy", "dtype"): ElementType,
    ("numpy.core.multiarray", "scalar"): scalar,
    ("numpy._core.multiarray", "scalar"): scalar,
    ("_codecs", "encode"): encode,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch.storage", "_load_from_bytes"): storage_from_bytes,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): rebuild_module,
}


class InertUnpickler(pickle.Unpickler):
    """Knows the names of BUILDERS and of torch's storage types, and no others."""

    def __init__(self, file: BinaryIO, storage_of: Optional[Callable[[StorageType, str, int], Storage]] = None):
        super().__init__(file, encoding="utf-8")
        self.file = file
        self.storage_of = storage_of

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in DTYPES:
            return StorageType(DTYPES[name])
        if (module, name) not in BUILDERS:
            hint = " (a network of TensorFlow; convert it with NVIDIA's legacy.py first)" if "tflib" in module else ""
            raise Refused(f"refused: the file asks for {module}.{name}{hint}")
        return BUILDERS[module, name]

    def persistent_load(self, identity: Any) -> Any:
        fields = identity if isinstance(identity, tuple) else ()
        if self.storage_of is None or len(fields) < 5 or fields[0] != "storage":
            raise Refused(f"refused: the file refers to {str(identity)[:100]!r} outside itself")
        kind, key, elements = fields[1], fields[2], fields[4]
        if not isinstance(kind, StorageType) or not isinstance(key, str) or not is_count(elements):
            raise ConversionError("a storage without type, key or size")
        if len(fields) > 5 and fields[5] is not None:
            raise ConversionError("a view of a storage, which torch has not written since 2017")
        return self.storage_of(kind, key, elements)

    def load(self) -> Any:
        try:
            self.check_memo()
            return super().load()
        except ConversionError:
            raise
        except RecursionError:
            raise ConversionError("the file is nested too deeply") from None
        except Exception as error:  # whatever a damaged pickle may lead to
            raise ConversionError(f"the pickle is damaged: {type(error).__name__}: {error}") from None


    def check_memo(self) -> None:
        """Walks over the opcodes once: a damaged memo index makes Python's reader allocate gigabytes."""
        start = self.file.tell()
        for count, (opcode, argument, _) in enumerate(pickletools.genops(self.file)):
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > count + 1:
                raise ConversionError(f"the pickle is damaged: memo index {argument} after {count} steps")
        self.file.seek(start)


MAGIC = 0x1950A86A20F9469CFC6C


def load_old_format(file: BinaryIO) -> Any:
    """torch.save before the zip format: magic number, version, system, the object, keys, and each storage's memory."""
    if InertUnpickler(file).load() != MAGIC:
        raise ConversionError("this is no file of torch.save: its magic number is another")
    version = InertUnpickler(file).load()
    if version != 1001:
        raise ConversionError(f"version {version!r} of torch.save's format (expected 1001)")
    system = InertUnpickler(file).load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ConversionError("the file is not of a little-endian machine")
    storages: Dict[str, Storage] = {}

    def storage_of(kind: StorageType, key: str, elements: int) -> Storage:
        known = storages.setdefault(key, Storage(kind, elements))
        if (known.kind, known.elements) != (kind, elements):
            raise ConversionError(f"storage {key} appears with two sizes or types")
        return known

    result = InertUnpickler(file, storage_of).load()
    keys = InertUnpickler(file).load()
    if not isinstance(keys, list) or len(set(map(str, keys))) != len(keys):
        raise ConversionError("the list of storages is damaged")
    for key in keys:
        if key not in storages:
            raise ConversionError(f"storage {key!r} belongs to no tensor")
        storage = storages[key]
        count = file.read(8)
        if len(count) != 8 or int.from_bytes(count, "little", signed=True) != storage.elements:
            raise ConversionError(f"storage {key} is truncated or of another size than its tensors say")
        storage.fill(file.read(storage.elements * storage.kind.item_size))
    return result


def load_zip_format(path: str) -> Any:
    """torch.save's zip format: ROOT/data.pkl and one file ROOT/data/KEY per storage."""
    try:
        with zipfile.ZipFile(path) as archive:
            roots = [name[: -len("data.pkl")] for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(roots) != 1:
                raise ConversionError("the zip file holds no data.pkl")
            root = roots[0]
            if root + "byteorder" in archive.namelist() and archive.read(root + "byteorder") != b"little":
                raise ConversionError("the file is not of a little-endian machine")
            storages: Dict[str, Storage] = {}

            def storage_of(kind: StorageType, key: str, elements: int) -> Storage:
                if key not in storages:
                    storage = Storage(kind, elements)
                    try:
                        entry = archive.getinfo(f"{root}data/{key}")
                    except KeyError:
                        raise ConversionError(f"storage {key!r} is missing from the zip file") from None
                    if entry.file_size != elements * kind.item_size:
                        raise ConversionError(f"storage {key} holds {entry.file_size} bytes "
                                              f"(expected {elements * kind.item_size})")
                    storage.fill(archive.read(entry))
                    storages[key] = storage
                return storages[key]

            return InertUnpickler(io.BytesIO(archive.read(root + "data.pkl")), storage_of).load()
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError,
            ValueError, struct.error) as error:  # what zipfile is known to raise for damaged files
        raise ConversionError(f"the zip file is damaged: {error}") from None


def load(path: str) -> Any:
    """The object in a file of any of the three formats."""
    with open(path, "rb") as file:
        start = file.read(4)
        if start == b"PK\x03\x04":
            return load_zip_format(path)
        file.seek(0)
        contents = io.BytesIO(file.read())
    try:
        first = InertUnpickler(contents).load()
    except Refused:
        raise
    except ConversionError:
        if start[:1] != b"\x80":
            raise ConversionError("neither a pickle nor a zip file") from None
        raise
    if first == MAGIC:
        contents.seek(0)
        return load_old_format(contents)
    return first


# ---- NVIDIA's modules ------------------------------------------------------------------------------------------------

Tensors = Dict[str, np.ndarray]


def as_array(name: str, value: Any) -> np.ndarray:
    if not isinstance(value, Tensor):
        raise ConversionError(f"{name} is no tensor")
    array = value.array()
    if array.dtype.kind != "f":
        raise ConversionError(f"{name} holds {array.dtype} (expected floating point)")
    if not np.isfinite(array).all():
        raise ConversionError(f"{name} holds values that are NaN or infinite")
    return array


def module_tensors(module: Module, prefix: str = "") -> Iterator[Tuple[str, np.ndarray]]:
    """Parameters and buffers with dotted names, as torch's named_parameters() and named_buffers() give them."""
    for group in ("_parameters", "_buffers"):
        for name, value in (module.state.get(group) or {}).items():
            if value is not None:
                yield prefix + str(name), as_array(prefix + str(name), value)
    for name, child in (module.state.get("_modules") or {}).items():
        if isinstance(child, Module):
            if prefix.count(".") > 16:
                raise ConversionError(f"{prefix}{name} is nested too deeply")
            yield from module_tensors(child, f"{prefix}{name}.")


def find_option(options: Any, name: str) -> Any:
    """An option of the constructor or of the synthesis network in it."""
    if not isinstance(options, dict):
        return None
    if options.get(name) is not None:
        return options[name]
    return find_option(options.get("synthesis_kwargs"), name)


def layer_clamps(module: Module, depth: int = 0) -> Iterator[Any]:
    """What the layers themselves say of their clamp: where the constructor was told nothing, its default has acted."""
    if "conv_clamp" in module.state:
        yield module.state["conv_clamp"]
    for child in (module.state.get("_modules") or {}).values():
        if isinstance(child, Module) and depth < 16:
            yield from layer_clamps(child, depth + 1)


def convert_nvidia(networks: Dict[str, Any]) -> Tuple[Tensors, Dict[str, str]]:
    generator = networks.get("G_ema")
    if not isinstance(generator, Module):
        raise ConversionError("G_ema is no module")
    tensors = dict(module_tensors(generator))
    metadata = {"origin": f"G_ema, a {generator.class_name} of NVIDIA's code"}
    clamps = list(layer_clamps(generator))
    if any(clamp != clamps[0] for clamp in clamps):
        raise ConversionError(f"layers with different conv_clamp: {clamps}")
    clamp = clamps[0] if clamps else find_option(generator.state.get("_init_kwargs"), "conv_clamp")
    if clamp is not None:
        if isinstance(clamp, bool) or not isinstance(clamp, (int, float)) or not math.isfinite(clamp) or clamp <= 0:
            raise ConversionError(f"conv_clamp is {clamp!r}")
        metadata["conv_clamp"] = f"{clamp:g}"
    return tensors, metadata


# ---- rosinality's names ----------------------------------------------------------------------------------------------

FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64


class Source:
    """The tensors of a checkpoint; what has been taken is remembered, so that nothing is left over unnoticed."""

    def __init__(self, tensors: Dict[str, Any]):
        self.tensors = tensors
        self.taken: set = set()

    def has(self, name: str) -> bool:
        return name in self.tensors

    def take(self, name: str, shape: Sequence[int]) -> np.ndarray:
        """The tensor in the given shape: extents of 1 may come and go, nothing else."""
        if name not in self.tensors:
            raise ConversionError(f"{name} is missing")
        array = as_array(name, self.tensors[name])
        if [n for n in array.shape if n != 1] != [n for n in shape if n not in (1, -1)] and -1 not in shape:
            raise ConversionError(f"{name} has shape {array.shape} (expected {tuple(shape)})")
        self.taken.add(name)
        return array.reshape(shape)


def mean_w(tensors: Tensors, z_dim: int) -> np.ndarray:
    """The mean of 10000 mapped z, for files that do not keep it."""
    x = np.random.default_rng(0).standard_normal((10000, z_dim)).astype(np.float32)
    x /= np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-8)
    layer = 0
    while f"mapping.fc{layer}.weight" in tensors:
        weight = tensors[f"mapping.fc{layer}.weight"].astype(np.float32)
        bias = np.float32(0.01) * tensors[f"mapping.fc{layer}.bias"]
        x = x @ weight.T * np.float32(0.01 / math.sqrt(weight.shape[1])) + bias
        x = np.where(x < 0, np.float32(0.2) * x, x) * np.float32(math.sqrt(2))
        layer += 1
    return x.mean(axis=0)


def convert_rosinality(checkpoint: Dict[str, Any]) -> Tuple[Tensors, Dict[str, str]]:
    state = checkpoint["g_ema"]
    if not isinstance(state, dict):
        raise ConversionError("g_ema is no dictionary of tensors")
    source = Source(state)
    tensors: Tensors = {}
    notes = []

    def copy_affine(target: str, origin: str) -> None:
        weight = source.take(f"{origin}.modulation.weight", (-1, w_dim))
        tensors[f"{target}.affine.weight"] = weight
        tensors[f"{target}.affine.bias"] = source.take(f"{origin}.modulation.bias", (weight.shape[0],))

    def copy_layer(target: str, origin: str, resolution: int, index: int) -> None:
        name = f"{origin}.conv.weight"
        shape = as_array(name, state.get(name)).shape
        if len(shape) != 5 or shape[0] != 1 or shape[3:] != (3, 3):
            raise ConversionError(f"{name} has shape {shape} (expected (1, O, I, 3, 3))")
        tensors[f"{target}.weight"] = source.take(name, shape[1:])
        tensors[f"{target}.bias"] = source.take(f"{origin}.activate.bias", (shape[1],))
        tensors[f"{target}.noise_strength"] = source.take(f"{origin}.noise.weight", ())
        noise = f"noises.noise_{index}"
        if source.has(noise):
            tensors[f"{target}.noise_const"] = source.take(noise, (resolution, resolution))
        else:
            notes.append(f"{target}.noise_const drawn anew")
            drawn = np.random.default_rng(index).standard_normal((resolution, resolution))
            tensors[f"{target}.noise_const"] = drawn.astype(np.float32)
        copy_affine(target, f"{origin}.conv")
        tensors[f"{target}.resample_filter"] = FILTER

    def copy_torgb(target: str, origin: str) -> None:
        name = f"{origin}.conv.weight"
        shape = as_array(name, state.get(name)).shape
        if len(shape) != 5 or shape[:2] != (1, 3) or shape[3:] != (1, 1):
            raise ConversionError(f"{name} has shape {shape} (expected (1, 3, I, 1, 1))")
        tensors[f"{target}.weight"] = source.take(name, shape[1:])
        tensors[f"{target}.bias"] = source.take(f"{origin}.bias", (3,))
        copy_affine(target, f"{origin}.conv")

    layer = 0
    while source.has(f"style.{layer + 1}.weight"):
        weight = as_array(f"style.{layer + 1}.weight", state[f"style.{layer + 1}.weight"])
        if weight.ndim != 2:
            raise ConversionError(f"style.{layer + 1}.weight has shape {weight.shape} (expected a matrix)")
        tensors[f"mapping.fc{layer}.weight"] = source.take(f"style.{layer + 1}.weight", weight.shape)
        tensors[f"mapping.fc{layer}.bias"] = source.take(f"style.{layer + 1}.bias", (weight.shape[0],))
        layer += 1
    if layer == 0:
        raise ConversionError("style.1.weight is missing")
    w_dim = tensors[f"mapping.fc{layer - 1}.bias"].shape[0]

    const = as_array("input.input", state.get("input.input"))
    tensors["synthesis.b4.const"] = source.take("input.input", (const.shape[1] if const.ndim == 4 else -1, 4, 4))
    copy_layer("synthesis.b4.conv1", "conv1", 4, 0)
    copy_torgb("synthesis.b4.torgb", "to_rgb1")
    tensors["synthesis.b4.resample_filter"] = FILTER
    block = 1
    while source.has(f"to_rgbs.{block - 1}.conv.weight"):
        resolution = 4 << block
        for j in (0, 1):
            copy_layer(f"synthesis.b{resolution}.conv{j}", f"convs.{2 * block - 2 + j}", resolution, 2 * block - 1 + j)
        copy_torgb(f"synthesis.b{resolution}.torgb", f"to_rgbs.{block - 1}")
        tensors[f"synthesis.b{resolution}.resample_filter"] = FILTER
        block += 1

    for name in state:
        if name.endswith("kernel"):  # of blur and upsampling: the same filter with a sum of 4
            kernel = as_array(name, state[name])
            if kernel.shape != (4, 4) or not np.allclose(kernel, 4 * FILTER, atol=1e-6):
                raise ConversionError(f"{name} is another filter than [1, 3, 3, 1]")
            source.taken.add(name)
    left = sorted(set(state) - source.taken)
    if left:
        raise ConversionError(f"{left[0]} is unknown ({len(left)} tensors left over)")

    if checkpoint.get("latent_avg") is not None:
        tensors["mapping.w_avg"] = Source({"latent_avg": checkpoint["latent_avg"]}).take("latent_avg", (w_dim,))
    else:
        notes.append("w_avg computed from 10000 z")
        tensors["mapping.w_avg"] = mean_w(tensors, tensors["mapping.fc0.weight"].shape[1])
    return tensors, {"origin": "; ".join(["g_ema of rosinality's code", *notes[:4]])}


# ---- what every generator must have ----------------------------------------------------------------------------------


def check_generator(tensors: Tensors) -> int:
    """The shapes of stylegan2's skip generator; returns the resolution."""

    def expect(name: str, *shape: int) -> np.ndarray:
        if name not in tensors:
            raise ConversionError(f"{name} is missing: this is no StyleGAN2 generator of the skip architecture")
        found = tensors[name].shape
        if len(found) != len(shape) or any(n not in (-1, m) for n, m in zip(shape, found)):
            expected = "x".join("any" if n == -1 else str(n) for n in shape) or "scalar"
            raise ConversionError(f"{name} has shape {'x'.join(map(str, found)) or 'scalar'} (expected {expected})")
        return tensors[name]

    blocks = (re.fullmatch(r"synthesis\.b(\d+)\.torgb\.weight", name) for name in tensors)
    resolutions = sorted(int(match[1]) for match in blocks if match)
    channels = expect("synthesis.b4.const", -1, 4, 4).shape[0]
    resolution = max(resolutions, default=0)
    if resolution < 8 or resolution > 1024 or resolutions != [4 << k for k in range(len(resolutions))]:
        raise ConversionError(f"blocks of resolutions {resolutions} (expected 4, 8, ... up to between 8 and 1024)")
    w_dim = expect("mapping.w_avg", -1).shape[0]

    def layer(name: str, inputs: int, kernel: int, outputs: int = -1) -> int:
        weight = expect(f"{name}.weight", outputs, inputs, kernel, kernel)
        expect(f"{name}.bias", weight.shape[0])
        expect(f"{name}.affine.weight", inputs, w_dim)
        expect(f"{name}.affine.bias", inputs)
        return weight.shape[0]

    for size in resolutions:
        for conv in ("conv0", "conv1") if size > 4 else ("conv1",):
            channels = layer(f"synthesis.b{size}.{conv}", channels, 3)
            expect(f"synthesis.b{size}.{conv}.noise_const", size, size)
            expect(f"synthesis.b{size}.{conv}.noise_strength")
        layer(f"synthesis.b{size}.torgb", channels, 1, 3)
    expect("mapping.fc0.weight", -1, -1)
    return resolution


def write_safetensors(path: str, tensors: Tensors, metadata: Dict[str, str]) -> None:
    """Eight bytes of length, a JSON header, the data. Complete, or not at all."""
    names = {"f2": "F16", "f4": "F32", "f8": "F64"}
    header: Dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    ordered = sorted(tensors)
    for name in ordered:
        array = tensors[name]
        end = offset + array.nbytes
        header[name] = {"dtype": names[array.dtype.str[1:]], "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    folder = os.path.dirname(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(prefix=".convert-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(len(text).to_bytes(8, "little"))
            file.write(text)
            for name in ordered:
                file.write(np.ascontiguousarray(tensors[name]).tobytes())
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def convert(source: str, target: str) -> str:
    """Converts a file and returns a line about what was found."""
    loaded = load(source)
    if isinstance(loaded, dict) and "G_ema" in loaded:
        tensors, metadata = convert_nvidia(loaded)
    elif isinstance(loaded, dict) and "g_ema" in loaded:
        tensors, metadata = convert_rosinality(loaded)
    else:
        keys = ", ".join(map(str, list(loaded)[:5])) if isinstance(loaded, dict) else type(loaded).__name__
        raise ConversionError(f"no G_ema (NVIDIA) and no g_ema (rosinality) in the file, which holds: "
                              f"{keys or 'nothing'}")
    resolution = check_generator(tensors)
    metadata = {"format": "stylegan2", "resolution": str(resolution), **metadata}
    write_safetensors(target, tensors, metadata)
    parameters = sum(array.size for array in tensors.values())
    layers = sum(1 for name in tensors if re.fullmatch(r"mapping\.fc\d+\.weight", name))
    return (f"{target}: {resolution} x {resolution} pixels, {layers} mapping layers, {len(tensors)} tensors, "
            f"{parameters} numbers, conv_clamp {metadata.get('conv_clamp', 'none')}")


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="convert_stylegan2.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", metavar="IN", help="a .pkl of NVIDIA's code or a .pt of rosinality's")
    parser.add_argument("output", metavar="OUT.safetensors")
    options = parser.parse_args(arguments)
    try:
        print(convert(options.input, options.output))
    except ConversionError as error:
        print(f"convert_stylegan2: {options.input}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"convert_stylegan2: {error.filename or options.output}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
