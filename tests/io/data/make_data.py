"""Makes the files of this folder with NumPy, safetensors and Pillow, so that the readers are tested against what others write.

    python3 -m pip install numpy safetensors==0.8.0 pillow
    python3 tests/io/data/make_data.py

The files are kept in the repository; this says where they come from and makes them anew.
"""

import os

import numpy
import safetensors
from PIL import Image

os.chdir(os.path.dirname(os.path.abspath(__file__)))
NUMBERS = numpy.arange(24).reshape(2, 3, 4)


def array_of(code):
    if code == "b1":
        return NUMBERS % 3 == 1
    if code[0] == "u":
        return NUMBERS.astype(code)
    if code[0] == "i":
        return (NUMBERS - 5).astype(code)
    return ((NUMBERS - 5) / 4).astype(code)


CODES = ["b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]
for code in CODES:
    numpy.save(f"{code}_c.npy", array_of(code))
    numpy.save(f"{code}_f.npy", numpy.asfortranarray(array_of(code)))

for major in (1, 2, 3):
    with open(f"version_{major}.npy", "wb") as file:
        numpy.lib.format.write_array(file, numpy.arange(3.0), version=(major, 0))
numpy.save("scalar.npy", numpy.float64(2.5))
numpy.save("empty.npy", numpy.zeros((3, 0, 2), "f4"))

numpy.save("refused_big_endian.npy", numpy.arange(3, dtype=">f8"))
numpy.save("refused_object.npy", numpy.array([None, 1], dtype=object), allow_pickle=True)
numpy.save("refused_structured.npy", numpy.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")]))
numpy.save("refused_complex.npy", numpy.zeros(2, dtype=complex))
numpy.save("refused_text.npy", numpy.array(["one", "two"]))
numpy.save("refused_dates.npy", numpy.array(["2020-01-01"], dtype="M8[D]"))

ARRAYS = {code: array_of(code) for code in CODES}
ARRAYS["fortran"] = numpy.asfortranarray(array_of("f4"))
ARRAYS["part/inner"] = numpy.arange(3.0)
ARRAYS["größe"] = numpy.float32(7)
ARRAYS["zeros"] = numpy.zeros((100, 100))
numpy.savez_compressed("deflated.npz", **ARRAYS)
del ARRAYS["zeros"]
numpy.savez("stored.npz", **ARRAYS)

DTYPES = {"b1": "bool", "i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32",
          "i8": "int64", "u8": "uint64", "f2": "float16", "f4": "float32", "f8": "float64"}
KEPT = [(code, DTYPES[code], array_of(code)) for code in CODES]
# bfloat16 is the upper half of a float32, and these numbers need no more than that.
KEPT.append(("bf16", "bfloat16", (array_of("f4").view("u4") >> 16).astype("u2")))
KEPT.append(("scalar", "float32", numpy.array(2.5, "f4")))
KEPT.append(("empty", "float32", numpy.zeros((3, 0, 2), "f4")))
TENSORS = {name: safetensors.TensorSpec(dtype=dtype, shape=array.shape, data_ptr=array.ctypes.data,
                                        data_len=array.nbytes) for name, dtype, array in KEPT}
safetensors.serialize_file(TENSORS, "all_types.safetensors", {"format": "np", "made by": "safetensors"})

# A gradient of 16 columns and 4 rows in the kinds of PNG that Pillow writes.
GREY = (numpy.arange(64).reshape(4, 16) * 4).astype("u1")
Image.fromarray(GREY).save("grey.png")
Image.fromarray((GREY.astype("u2") * 257)).save("grey_16_bit.png")
Image.fromarray(GREY >= 128).save("one_bit.png")
COLOUR = numpy.stack([GREY, 255 - GREY, GREY // 2], axis=2)
Image.fromarray(COLOUR).save("rgb.png")
PALETTE = Image.fromarray((GREY // 64).astype("u1"), mode="P")
PALETTE.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
PALETTE.save("palette.png")
PALETTE.save("palette_transparent.png", transparency=0)
