#pragma once

// Files: NPY and NPZ (NumPy), safetensors (model weights) and PNG. Link moden::io.

#include <moden/io/npy.hpp>
#include <moden/io/npz.hpp>
#include <moden/io/png.hpp>
#include <moden/io/safetensors.hpp>
