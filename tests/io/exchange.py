"""Writes arrays with NumPy and safetensors, lets io_exchange read and rewrite them, and reads the result back.

Usage: exchange.py PATH_TO_IO_EXCHANGE.  Exit code 77 (skipped) without NumPy; safetensors is left out if it is missing.
"""

import os
import subprocess
import sys
import tempfile
import zipfile

try:
    import numpy
except ImportError:
    print("SKIPPED: NumPy is not installed")
    sys.exit(77)

try:
    import safetensors.numpy
except ImportError:
    safetensors = None
    print("safetensors is not installed: only NPY and NPZ are exchanged")

SHAPES = [(), (1,), (5,), (0,), (3, 4), (0, 3), (2, 3, 4), (65, 2, 40), (2, 1, 2, 3, 1, 2, 2, 2)]
CODES = ["b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]


def random_array(generator, code, shape):
    if code == "b1":
        return generator.integers(0, 2, shape).astype(bool)
    if code[0] == "f":
        return numpy.asarray(generator.standard_normal(shape)).astype(code)
    limits = numpy.iinfo(code)
    return numpy.asarray(generator.integers(limits.min, limits.max, shape, dtype=code, endpoint=True))


def same(expected, found, label):
    if expected.dtype == numpy.float16:
        expected = expected.astype("f4")
    assert found.dtype == expected.dtype, (label, found.dtype, expected.dtype)
    assert found.shape == expected.shape, (label, found.shape, expected.shape)
    assert numpy.array_equal(found, expected), label


def main(program):
    generator = numpy.random.default_rng(1)
    arrays = {f"{code}_{number}": random_array(generator, code, shape)
              for code in CODES for number, shape in enumerate(SHAPES)}
    arrays["größe und mehr"] = numpy.arange(4.0)
    arrays["inner/part"] = numpy.asfortranarray(random_array(generator, "f4", (40, 30)))
    with tempfile.TemporaryDirectory() as given, tempfile.TemporaryDirectory() as received:
        for name, array in arrays.items():
            if "/" not in name:
                numpy.save(os.path.join(given, name + ".npy"), array)
                numpy.save(os.path.join(given, name + "_fortran.npy"), numpy.array(array, order="F"))
        numpy.savez(os.path.join(given, "a.npz"), **arrays)
        numpy.savez_compressed(os.path.join(given, "b.npz"), **arrays)
        if safetensors:
            contiguous = {name: numpy.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
            safetensors.numpy.save_file(contiguous, os.path.join(given, "a.safetensors"), {"key": "välue \"1\"\n"})
        subprocess.run([program, given, received], check=True)
        for name, array in arrays.items():
            for middle in ("", "_fortran"):
                for order in ("c", "f"):
                    if "/" not in name:
                        path = os.path.join(received, f"{name}{middle}_{order}.npy")
                        found = numpy.load(path)
                        same(array, found, path)
                        wanted = "F_CONTIGUOUS" if order == "f" else "C_CONTIGUOUS"
                        assert found.flags[wanted], path
        for name in ("a", "b"):
            for kind in ("stored", "deflated", "zip64"):
                path = os.path.join(received, f"{name}_{kind}.npz")
                assert zipfile.ZipFile(path).testzip() is None, path
                with numpy.load(path) as archive:
                    assert sorted(archive.files) == sorted(arrays), path
                    for key, array in arrays.items():
                        same(array, archive[key], f"{path}: {key}")
        if safetensors:
            path = os.path.join(received, "a.safetensors")
            found = safetensors.numpy.load_file(path)
            assert sorted(found) == sorted(arrays), path
            for key, array in arrays.items():
                same(array, found[key], f"{path}: {key}")
            with safetensors.safe_open(path, "np") as file:
                assert file.metadata() == {"key": "välue \"1\"\n"}, file.metadata()
    print(f"{len(arrays)} arrays exchanged in both directions")


main(sys.argv[1])
