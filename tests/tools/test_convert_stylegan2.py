"""The converter on small files of every format, and on hostile ones. Exit code 77 (skipped) without NumPy."""
from __future__ import annotations

import collections
import io
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import types
import unittest
import zipfile
from pathlib import Path

try:
    import numpy as np
except ImportError:
    print("SKIPPED: NumPy is not installed")
    sys.exit(77)

TOOL = Path(__file__).resolve().parents[2] / "tools" / "convert_stylegan2.py"
sys.path.insert(0, str(TOOL.parent))
import convert_stylegan2 as converter  # noqa: E402

Z = W = 6
CHANNELS = {4: 5, 8: 4, 16: 3}


# ---- what torch would write: names that exist while a file is written, and only then ---------------------------------


def named(module: str, name: str, **members):
    """A class that pickles as module.name."""
    return type(name, (), {"__module__": module, "__qualname__": name, **members})


def function(module: str, name: str):
    def stand_in(*_):
        raise AssertionError("a stand-in was called")

    stand_in.__module__, stand_in.__name__, stand_in.__qualname__ = module, name, name
    return stand_in


STORAGE_TYPES = {"f4": named("torch", "FloatStorage"), "f2": named("torch", "HalfStorage"), "f8": named("torch", "DoubleStorage")}
rebuild_tensor = function("torch._utils", "_rebuild_tensor_v2")
rebuild_parameter = function("torch._utils", "_rebuild_parameter")
load_from_bytes = function("torch.storage", "_load_from_bytes")
reconstruct = function("torch_utils.persistence", "_reconstruct_persistent_obj")
EasyDict = type("EasyDict", (dict,), {"__module__": "dnnlib.util", "__qualname__": "EasyDict"})
KNOWN = [*STORAGE_TYPES.values(), rebuild_tensor, rebuild_parameter, load_from_bytes, reconstruct, EasyDict]


class Names:
    """Makes the stand-ins importable, which pickle insists on when it writes them."""

    def __enter__(self):
        self.added = []
        for thing in KNOWN:
            parts = thing.__module__.split(".")
            for i in range(1, len(parts) + 1):
                module = ".".join(parts[:i])
                if module not in sys.modules:
                    sys.modules[module] = types.ModuleType(module)
                    self.added.append(module)
            setattr(sys.modules[thing.__module__], thing.__qualname__, thing)

    def __exit__(self, *_):
        for module in self.added:
            del sys.modules[module]


class FakeStorage:
    def __init__(self, array):
        self.array = np.ascontiguousarray(array).reshape(-1)

    @property
    def kind(self):
        return STORAGE_TYPES[self.array.dtype.str[1:]]

    def __reduce__(self):
        return load_from_bytes, (old_format(self),)


class FakeTensor:
    """A tensor that is a view of a longer storage; 4-D ones are channels-last."""

    def __init__(self, array):
        array = np.asarray(array)
        self.size = array.shape
        laid_out = np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else np.ascontiguousarray(array)
        self.storage = FakeStorage(np.concatenate([np.full(3, 99, array.dtype), laid_out.reshape(-1)]))
        strides = [step // array.itemsize for step in laid_out.strides]
        self.stride = (strides[0], strides[3], strides[1], strides[2]) if array.ndim == 4 else tuple(strides[: array.ndim])

    def __reduce__(self):
        return rebuild_tensor, (self.storage, 3, tuple(self.size), tuple(self.stride), False, collections.OrderedDict())


class FakeParameter:
    def __init__(self, data):
        self.data = data

    def __reduce__(self):
        return rebuild_parameter, (self.data, True, collections.OrderedDict())


class FakeModule:
    def __init__(self, class_name, parameters=None, buffers=None, modules=None, **more):
        self.meta = EasyDict(type="class", version=6, module_src="raise SystemExit('the source was executed')", class_name=class_name,
                             state={"_parameters": collections.OrderedDict(parameters or {}),
                                    "_buffers": collections.OrderedDict(buffers or {}),
                                    "_modules": collections.OrderedDict(modules or {}), **more})

    def __reduce__(self):
        return reconstruct, (self.meta,)


def dumps(thing, protocol=2, storages=None):
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol)
    if storages is not None:
        def identify(item):
            if not isinstance(item, FakeStorage):
                return None
            key = storages.setdefault(id(item), (str(len(storages)), item))[0]
            return ("storage", item.kind, key, "cpu", len(item.array), None)

        pickler.persistent_id = identify
    with Names():
        pickler.dump(thing)
    return file.getvalue()


def old_format(thing, version=1001):
    storages = {}
    body = dumps(thing, 2, storages)
    head = dumps(converter.MAGIC) + dumps(version) + dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    data = b"".join(len(s.array).to_bytes(8, "little") + s.array.tobytes() for _, s in storages.values())
    return head + body + dumps([key for key, _ in storages.values()]) + data


def zip_format(thing, change=lambda files: files):
    storages = {}
    files = {"archive/data.pkl": dumps(thing, 2, storages), "archive/byteorder": b"little"}
    files.update({f"archive/data/{key}": s.array.tobytes() for key, s in storages.values()})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, contents in change(files).items():
            archive.writestr(name, contents)
    return file.getvalue()


# ---- two generators --------------------------------------------------------------------------------------------------


def nvidia_tensors(dtype="f4"):
    """All tensors of a 16 x 16 generator by NVIDIA's names."""
    rng = np.random.default_rng(1)
    result = {}

    def add(name, *shape):
        result[name] = rng.standard_normal(shape).astype(dtype)

    for i in range(2):
        add(f"mapping.fc{i}.weight", W, Z)
        add(f"mapping.fc{i}.bias", W)
    add("mapping.w_avg", W)
    add("synthesis.b4.const", CHANNELS[4], 4, 4)
    inputs = CHANNELS[4]
    for r, channels in CHANNELS.items():
        for conv in ("conv0", "conv1") if r > 4 else ("conv1",):
            name = f"synthesis.b{r}.{conv}"
            add(f"{name}.weight", channels, inputs, 3, 3)
            add(f"{name}.bias", channels)
            add(f"{name}.noise_strength")
            add(f"{name}.noise_const", r, r)
            add(f"{name}.affine.weight", inputs, W)
            add(f"{name}.affine.bias", inputs)
            result[f"{name}.resample_filter"] = converter.FILTER.astype(dtype)
            inputs = channels
        name = f"synthesis.b{r}.torgb"
        add(f"{name}.weight", 3, channels, 1, 1)
        add(f"{name}.bias", 3)
        add(f"{name}.affine.weight", channels, W)
        add(f"{name}.affine.bias", channels)
        result[f"synthesis.b{r}.resample_filter"] = converter.FILTER.astype(dtype)
    return result


def nvidia_network(tensors, clamp=256, layer_clamp=...):
    def build(prefix, class_name):
        parameters, buffers, children = {}, {}, {}
        for name, array in tensors.items():
            if not name.startswith(prefix):
                continue
            head, _, rest = name[len(prefix):].partition(".")
            if rest:
                children.setdefault(head, None)
            elif head in ("w_avg", "noise_const", "resample_filter"):
                buffers[head] = FakeTensor(array)
            else:
                parameters[head] = FakeParameter(FakeTensor(array))
        modules = {head: build(f"{prefix}{head}.", "Layer") for head in children}
        extra = {"conv_clamp": layer_clamp} if class_name == "Layer" and layer_clamp is not ... else {} if prefix else {"_init_kwargs": EasyDict(z_dim=Z, synthesis_kwargs=EasyDict(channel_base=64, conv_clamp=clamp))}
        return FakeModule(class_name, parameters, buffers, modules, training=False, **extra)

    return {"G": None, "D": None, "G_ema": build("", "Generator"), "training_set_kwargs": EasyDict(path="x"), "augment_pipe": None}


def rosinality_checkpoint(tensors, noises=True, average=True):
    """The same weights by rosinality's names."""
    state = collections.OrderedDict()
    for i in range(2):
        state[f"style.{i + 1}.weight"] = tensors[f"mapping.fc{i}.weight"]
        state[f"style.{i + 1}.bias"] = tensors[f"mapping.fc{i}.bias"]
    state["input.input"] = tensors["synthesis.b4.const"][None]
    layers = [("b4.conv1", "conv1")] + [(f"b{4 << k}.conv{j}", f"convs.{2 * (k - 1) + j}") for k in (1, 2) for j in (0, 1)]
    for index, (theirs, ours) in enumerate(layers):
        name = f"synthesis.{theirs}"
        state[f"{ours}.conv.weight"] = tensors[f"{name}.weight"][None]
        state[f"{ours}.conv.modulation.weight"] = tensors[f"{name}.affine.weight"]
        state[f"{ours}.conv.modulation.bias"] = tensors[f"{name}.affine.bias"]
        state[f"{ours}.noise.weight"] = tensors[f"{name}.noise_strength"].reshape(1)
        state[f"{ours}.activate.bias"] = tensors[f"{name}.bias"]
        if noises:
            state[f"noises.noise_{index}"] = tensors[f"{name}.noise_const"][None, None]
        if theirs.endswith("conv0"):
            state[f"{ours}.conv.blur.kernel"] = 4 * converter.FILTER
    for theirs, ours in [("b4", "to_rgb1"), ("b8", "to_rgbs.0"), ("b16", "to_rgbs.1")]:
        name = f"synthesis.{theirs}.torgb"
        state[f"{ours}.bias"] = tensors[f"{name}.bias"].reshape(1, 3, 1, 1)
        state[f"{ours}.conv.weight"] = tensors[f"{name}.weight"][None]
        state[f"{ours}.conv.modulation.weight"] = tensors[f"{name}.affine.weight"]
        state[f"{ours}.conv.modulation.bias"] = tensors[f"{name}.affine.bias"]
    state["to_rgbs.0.upsample.kernel"] = 4 * converter.FILTER
    checkpoint = {"g_ema": collections.OrderedDict((name, FakeTensor(array)) for name, array in state.items())}
    if average:
        checkpoint["latent_avg"] = FakeTensor(tensors["mapping.w_avg"])
    return checkpoint


# What the library reads, written down by hand: every tensor of the generator above, for Z = W = 6 and 5, 4, 3 channels.
WHAT_THE_LIBRARY_READS = """
mapping.w_avg 6
mapping.fc0.weight 6 6
mapping.fc0.bias 6
mapping.fc1.weight 6 6
mapping.fc1.bias 6
synthesis.b4.const 5 4 4
synthesis.b4.conv1.weight 5 5 3 3
synthesis.b4.conv1.bias 5
synthesis.b4.conv1.affine.weight 5 6
synthesis.b4.conv1.affine.bias 5
synthesis.b4.conv1.noise_strength
synthesis.b4.conv1.noise_const 4 4
synthesis.b4.torgb.weight 3 5 1 1
synthesis.b4.torgb.bias 3
synthesis.b4.torgb.affine.weight 5 6
synthesis.b4.torgb.affine.bias 5
synthesis.b8.conv0.weight 4 5 3 3
synthesis.b8.conv0.bias 4
synthesis.b8.conv0.affine.weight 5 6
synthesis.b8.conv0.affine.bias 5
synthesis.b8.conv0.noise_strength
synthesis.b8.conv0.noise_const 8 8
synthesis.b8.conv1.weight 4 4 3 3
synthesis.b8.conv1.bias 4
synthesis.b8.conv1.affine.weight 4 6
synthesis.b8.conv1.affine.bias 4
synthesis.b8.conv1.noise_strength
synthesis.b8.conv1.noise_const 8 8
synthesis.b8.torgb.weight 3 4 1 1
synthesis.b8.torgb.bias 3
synthesis.b8.torgb.affine.weight 4 6
synthesis.b8.torgb.affine.bias 4
synthesis.b16.conv0.weight 3 4 3 3
synthesis.b16.conv0.bias 3
synthesis.b16.conv0.affine.weight 4 6
synthesis.b16.conv0.affine.bias 4
synthesis.b16.conv0.noise_strength
synthesis.b16.conv0.noise_const 16 16
synthesis.b16.conv1.weight 3 3 3 3
synthesis.b16.conv1.bias 3
synthesis.b16.conv1.affine.weight 3 6
synthesis.b16.conv1.affine.bias 3
synthesis.b16.conv1.noise_strength
synthesis.b16.conv1.noise_const 16 16
synthesis.b16.torgb.weight 3 3 1 1
synthesis.b16.torgb.bias 3
synthesis.b16.torgb.affine.weight 3 6
synthesis.b16.torgb.affine.bias 3
"""


class Trap:
    """Runs a command when an ordinary reader loads it."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def read_safetensors(path):
    contents = Path(path).read_bytes()
    length = int.from_bytes(contents[:8], "little")
    header = json.loads(contents[8 : 8 + length])
    metadata = header.pop("__metadata__")
    types_by_name = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
    return {name: np.frombuffer(contents[8 + length :][slice(*entry["data_offsets"])], types_by_name[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items()}, metadata


class ConverterTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.input = os.path.join(self.folder.name, "in.pkl")
        self.output = os.path.join(self.folder.name, "out.safetensors")

    def convert(self, contents):
        Path(self.input).write_bytes(contents)
        converter.convert(self.input, self.output)
        return read_safetensors(self.output)

    def refuse(self, contents, message):
        Path(self.input).write_bytes(contents)
        with self.assertRaisesRegex(converter.ConversionError, message):
            converter.convert(self.input, self.output)
        self.assertEqual(os.listdir(self.folder.name), ["in.pkl"])  # nothing, not even a temporary file

    def check_equal(self, found, expected):
        self.assertEqual(sorted(found), sorted(expected))
        for name, array in expected.items():
            self.assertEqual(found[name].shape, array.shape, name)
            self.assertTrue(np.array_equal(found[name], array), name)

    def test_nvidia(self):
        for dtype in ("f4", "f2"):
            for protocol in (3, 4):
                expected = nvidia_tensors(dtype)
                found, metadata = self.convert(dumps(nvidia_network(expected), protocol))
                self.check_equal(found, expected)
                self.assertEqual(metadata["resolution"], "16")
                self.assertEqual(metadata["conv_clamp"], "256")
                self.assertEqual(metadata["format"], "stylegan2")

    def test_without_clamp(self):
        _, metadata = self.convert(dumps(nvidia_network(nvidia_tensors(), clamp=None), 3))
        self.assertNotIn("conv_clamp", metadata)

    def test_the_clamp_of_the_layers_counts(self):
        for clamp, layer_clamp in ((None, 128), (256, 128), (256, None)):
            _, metadata = self.convert(dumps(nvidia_network(nvidia_tensors(), clamp, layer_clamp), 3))
            self.assertEqual(metadata.get("conv_clamp"), None if layer_clamp is None else "128")
        os.unlink(self.output)
        for bad in (-1, float("nan"), "256", True):
            self.refuse(dumps(nvidia_network(nvidia_tensors(), bad), 3), "conv_clamp is")

    def test_rosinality(self):
        expected = nvidia_tensors()
        for write in (old_format, zip_format):
            found, metadata = self.convert(write(rosinality_checkpoint(expected)))
            self.check_equal(found, expected)
            self.assertEqual(metadata["resolution"], "16")
            self.assertNotIn("conv_clamp", metadata)

    def test_rosinality_without_noises_and_average(self):
        expected = nvidia_tensors()
        found, metadata = self.convert(old_format(rosinality_checkpoint(expected, noises=False, average=False)))
        self.assertIn("drawn anew", metadata["origin"])
        self.assertEqual(found["synthesis.b16.conv1.noise_const"].shape, (16, 16))
        # The mean of mapped z, from the definition, for z of another seed: equal up to the error of a mean of 10000.
        x = np.random.default_rng(7).standard_normal((40000, Z))
        x /= np.sqrt((x * x).mean(axis=1, keepdims=True))
        for i in range(2):
            x = x @ expected[f"mapping.fc{i}.weight"].T * 0.01 / np.sqrt(Z) + 0.01 * expected[f"mapping.fc{i}.bias"]
            x = np.sqrt(2) * np.maximum(x, 0.2 * x)
        self.assertTrue(np.all(abs(found["mapping.w_avg"] - x.mean(axis=0)) < 6 * x.std(axis=0) / 100))

    def check_library_reads(self, found, metadata):
        expected = {}
        for line in WHAT_THE_LIBRARY_READS.split("\n")[1:-1]:
            name, *extents = line.split()
            expected[name] = tuple(map(int, extents))
        filters = {name: array for name, array in found.items() if name.endswith(".resample_filter")}
        self.assertEqual({name: array.shape for name, array in found.items() if name not in filters}, expected)
        for name, array in filters.items():  # the one filter that the library accepts, where the file has one
            self.assertRegex(name, r"^synthesis\.b(4|8|16)(\.conv[01])?\.resample_filter$")
            self.assertTrue(np.allclose(array, np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64, rtol=0, atol=1e-5), name)
        for array in found.values():
            self.assertIn(array.dtype.str, ("<f2", "<f4", "<f8"))
            self.assertTrue(np.isfinite(array).all())
        self.assertEqual(float(metadata["resolution"]), 16)
        self.assertGreater(float(metadata.get("conv_clamp", "1")), 0)
        self.assertTrue(all(isinstance(value, str) for value in metadata.values()))

    def converted_files(self):
        expected = nvidia_tensors()
        yield dumps(nvidia_network(expected), 3)
        yield dumps(nvidia_network(nvidia_tensors("f2"), clamp=None), 4)
        for write in (old_format, zip_format):
            yield write(rosinality_checkpoint(expected))
            yield write(rosinality_checkpoint(expected, noises=False, average=False))

    def test_every_result_has_the_names_and_shapes_that_the_library_reads(self):
        for contents in self.converted_files():
            self.check_library_reads(*self.convert(contents))

    def test_the_library_reads_every_result(self):
        program = os.environ.get("STYLEGAN2_RUN")
        if not program:
            self.skipTest("STYLEGAN2_RUN does not name the program stylegan2_run")
        pictures = []
        for number, contents in enumerate(self.converted_files()):
            self.convert(contents)
            folder = os.path.join(self.folder.name, f"pictures{number}")
            done = subprocess.run([program, "--weights", self.output, "--seeds", "0-1", "--psi", "0.5", "--out", folder],
                                  capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            pictures.append(np.load(os.path.join(folder, "images.npy")))
            self.assertEqual(pictures[-1].shape, (2, 3, 16, 16))
        # The same weights by either naming make the same pictures; the clamp at 256 is out of reach here.
        self.assertTrue(np.allclose(pictures[0], pictures[2], rtol=0, atol=1e-5 * abs(pictures[0]).max()))
        self.assertTrue(np.array_equal(pictures[2], pictures[4]))

    def test_nothing_is_executed(self):
        proof = os.path.join(self.folder.name, "executed")
        trap = Trap(f"touch {proof}")
        network = nvidia_network(nvidia_tensors())
        network["augment_pipe"] = trap
        for protocol in (0, 2, 4):
            self.refuse(dumps(network, protocol) if protocol else dumps({"G_ema": trap}, 0), r"refused: the file asks for (posix|nt)\.system")
        self.refuse(old_format({"g_ema": trap}), r"refused: .*\.system")
        self.refuse(zip_format({"g_ema": trap}), r"refused: .*\.system")

        class Hidden:  # inside the bytes of a storage
            def __reduce__(self):
                return load_from_bytes, (old_format(trap),)

        self.refuse(dumps({"G_ema": Hidden()}, 3), r"refused: .*\.system")
        for text in (b"cbuiltins\neval\n.", b"c__builtin__\ngetattr\n.", b"\x80\x04\x8c\x08builtins\x94\x8c\x04exec\x93.",
                     b"cdnnlib.tflib.network\nNetwork\n.", b"ctorch\nload\n.", b"ccollections\nOrderedDict.fromkeys\n."):
            self.refuse(b"\x80\x02" + text if text[:1] == b"c" else text, "refused: the file asks for")
        self.assertFalse(os.path.exists(proof))

    def test_what_is_no_generator(self):
        self.refuse(b"", "neither a pickle nor a zip file")
        self.refuse(b"hello", "neither a pickle nor a zip file")
        self.refuse(dumps({"a": 1}), "no G_ema .* which holds: a")
        self.refuse(dumps([1]), "which holds: list")
        self.refuse(dumps({"G_ema": 5}), "G_ema is no module")
        self.refuse(old_format({"g_ema": 5}), "g_ema is no dictionary")
        self.refuse(old_format({"g_ema": {}}, version=1002), "version 1002")

    def test_wrong_tensors_are_named(self):
        def changed(name, change):
            tensors = nvidia_tensors()
            tensors[name] = change(tensors[name])
            return dumps(nvidia_network(tensors), 3)

        self.refuse(changed("synthesis.b8.conv0.weight", lambda x: x[:, :3]),
                    r"synthesis.b8.conv0.weight has shape 4x3x3x3 \(expected anyx5x3x3\)")
        self.refuse(changed("synthesis.b8.conv1.bias", lambda x: x * np.float32("nan")), "synthesis.b8.conv1.bias holds values that are NaN")
        self.refuse(changed("synthesis.b16.torgb.affine.weight", lambda x: x.T), "synthesis.b16.torgb.affine.weight has shape")
        tensors = nvidia_tensors()
        del tensors["synthesis.b16.conv1.noise_const"]
        self.refuse(dumps(nvidia_network(tensors), 3), "synthesis.b16.conv1.noise_const is missing")
        tensors = {n: a for n, a in nvidia_tensors().items() if ".b8." not in n}
        self.refuse(dumps(nvidia_network(tensors), 3), r"blocks of resolutions \[4, 16\]")
        checkpoint = rosinality_checkpoint(nvidia_tensors())
        checkpoint["g_ema"]["surprise"] = FakeTensor(np.zeros(3, "f4"))
        self.refuse(old_format(checkpoint), "surprise is unknown")

    def test_views_outside_their_storage(self):
        def network(offset, size, stride):
            class Bad:
                def __reduce__(self):
                    return rebuild_tensor, (FakeStorage(np.zeros(10, "f4")), offset, size, stride, False, None)

            return dumps({"G_ema": FakeModule("Generator", {"x": Bad()})}, 3)

        self.refuse(network(1, (10,), (1,)), "reaches element 10 of a storage of 10")
        self.refuse(network(5, (2, 3), (5, 1)), "reaches element 12")
        self.refuse(network(0, (1 << 30,), (0,)), "in a storage of 10 elements")
        for bad in [(-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2, 2), (1,)), (0, "ab", (1, 1)), (True, (2,), (1,)), (0, (1 << 40,), (0,))]:
            self.refuse(network(*bad), "a tensor ")

    def test_memo_indices_that_would_fill_the_memory(self):
        self.refuse(b"\x80\x02K\x01r\xff\xff\xff\x0f.", "memo index 268435455")

    def test_damaged_zip(self):
        checkpoint = rosinality_checkpoint(nvidia_tensors())
        self.refuse(zip_format(checkpoint, lambda f: {k: v for k, v in f.items() if k != "archive/data/3"}), "storage '3' is missing")
        self.refuse(zip_format(checkpoint, lambda f: {k: v[:-1] if k == "archive/data/3" else v for k, v in f.items()}), "storage 3 holds")
        self.refuse(zip_format(checkpoint, lambda f: {**f, "archive/byteorder": b"big"}), "little-endian")
        self.refuse(zip_format({}, lambda f: {"a": b""}), "no data.pkl")
        self.refuse(zip_format(checkpoint)[:-30], "zip file is damaged")

    def test_truncated_and_damaged_files(self):
        expected = nvidia_tensors()
        files = [dumps(nvidia_network(expected), 3), old_format(rosinality_checkpoint(expected)), zip_format(rosinality_checkpoint(expected))]
        generator = random.Random(1)
        for contents in files:
            for length in range(0, len(contents) - 1, max(1, len(contents) // 60)):
                self.refuse(contents[:length], "")
            for _ in range(150):
                damaged = bytearray(contents)
                for _ in range(3):
                    damaged[generator.randrange(len(damaged))] = generator.randrange(256)
                Path(self.input).write_bytes(damaged)
                try:
                    converter.convert(self.input, self.output)
                    os.unlink(self.output)
                except converter.ConversionError:
                    pass

    def test_command_line(self):
        Path(self.input).write_bytes(dumps(nvidia_network(nvidia_tensors()), 3))

        def run(*arguments):
            return subprocess.run([sys.executable, str(TOOL), *arguments], capture_output=True, text=True)

        good = run(self.input, self.output)
        self.assertEqual((good.returncode, good.stderr), (0, ""))
        self.assertIn("16 x 16 pixels, 2 mapping layers", good.stdout)
        before = Path(self.output).read_bytes()
        Path(self.input).write_bytes(b"\x80\x02cos\nsystem\n.")
        for arguments in ((self.input, self.output), (self.input + "?", self.output), (self.input, "/nowhere/out")):
            bad = run(*arguments)
            self.assertEqual(bad.returncode, 2)
            self.assertEqual(bad.stderr.count("\n"), 1, bad.stderr)
            self.assertTrue(bad.stderr.startswith("convert_stylegan2: "))
        self.assertEqual(Path(self.output).read_bytes(), before)
        self.assertEqual(run("one").returncode, 2)
        self.assertEqual(run("--help").returncode, 0)


if __name__ == "__main__":
    unittest.main()
