"""One peer on one case, kept alive between rounds: worker.py PEER CASE FOLDER THREADS.

Reads commands from standard input, answers each with one JSON object on a line:
    warm-up       -> {"seconds", "took", "counts", "extra_bytes", "error", "variant", "variants"}: untimed for the table, unless the peer is very slow
    run REPEATS   -> {"seconds"}: the fastest of so many calls
"took" is how long a call takes; "seconds" is more where the call does a known part of the work.
Anything that goes wrong is answered with {"failed": reason}. Standard output belongs to the answers alone.
"""
from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
HOPELESS = 1.5  # times the fastest variant so far, if its first call takes more than
HOPELESS_FROM = 2.0  # seconds, a variant gets no second call
WARM_UP_LIMIT = 5.0  # seconds: below it, memory is taken from a second call, after one-time allocations


def make_variants(peer: str, case: Any, inputs: dict, folder: Path) -> dict[str, Callable[[], Any]]:
    import numpy as np

    if case.kind == "stylegan2":
        import stylegan2_model
        import stylegan2_peer

        return stylegan2_peer.variants(case, inputs, stylegan2_model.load_safetensors(folder / "weights.safetensors"))
    if case.kind == "jacobian_svd":
        import jacobian_peer

        return jacobian_peer.variants(case, inputs, jacobian_peer.load_weights(folder), np.load(folder / "reference.npy"))
    if case.kind == "tensor_model":
        import tensor_model_fit
        import tensor_model_peer

        return tensor_model_peer.variants(case, inputs) if case.operation == "estimate" else tensor_model_fit.variants(peer, case, inputs)
    if case.kind == "least_squares":
        import least_squares_peer

        return least_squares_peer.variants(peer, inputs)
    if case.kind == "localized_dictionary":
        import dictionary_peer

        return dictionary_peer.variants(inputs)
    if case.kind == "multilinear_loss":
        import multilinear_loss_peer

        return multilinear_loss_peer.variants(peer, case, inputs)
    if case.kind in ("spherical_k_means", "ward_linkage"):
        import clustering_peer

        return clustering_peer.variants(peer, case, inputs)
    if case.kind in ("nrsfm", "shape_fit"):
        exact = np.load(folder / "reference.npy")
        if case.kind == "nrsfm":
            import nrsfm_peer

            return nrsfm_peer.variants(peer, case, inputs, exact)
        import shape_fit_peer

        return shape_fit_peer.variants(peer, inputs, exact)
    if peer == "numpy":
        import numpy_peer as module
    elif peer == "numpy-handwritten":
        import numpy_handwritten_peer as module
    elif peer == "torch":
        import torch_peer as module
    elif peer == "tntorch":
        import tntorch_peer as module
    elif peer in ("tensorly-numpy", "tensorly-torch"):
        import tensorly_peer

        return tensorly_peer.variants(case, inputs, "numpy" if peer == "tensorly-numpy" else "pytorch")
    else:
        raise ValueError(f"unknown peer '{peer}'")
    return module.variants(case, inputs)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


class Worker:
    def __init__(self, peer: str, name: str, folder: Path) -> None:
        import numpy as np

        import cases
        import results

        self.results = results
        self.case = cases.parse(name)
        files = sorted(folder.glob("*.npy"))
        inputs = {file.stem: np.load(file) for file in files if file.stem != "reference"}
        self.tensor = inputs.get("tensor", inputs.get("objective"))
        reference = folder / "reference.npy"
        self.reference = np.load(reference, mmap_mode="r") if reference.exists() else None
        self.variants = make_variants(peer, self.case, inputs, folder)
        self.variant = next(iter(self.variants))
        self.call = self.variants[self.variant]
        self.seconds: dict[str, float] = {}  # of each variant, where there are several
        self.parts = 1.0  # calls that the whole work would take
        if self.case.kind == "localized_dictionary":
            import dictionary_peer

            self.parts = self.case.count / dictionary_peer.TIMED_ITERATIONS
        if self.case.kind == "nrsfm" and peer == "torch":
            import nrsfm_peer

            self.parts = nrsfm_peer.STEPS[self.case.shape[1]] / nrsfm_peer.TIMED_ITERATIONS
        if self.case.kind == "shape_fit" and peer == "scipy":
            import shape_fit_peer

            self.parts = self.case.shape[0] / shape_fit_peer.TIMED_SETS
        self.inputs = inputs
        small = np.ones((256, 256), self.case.dtype)
        small @ small  # starts the threads of the BLAS before memory is measured

    def choose(self) -> None:
        """Keeps the fastest variant, each timed on its second call; on its first, where that is slow and no rival."""
        if len(self.variants) == 1:
            return
        for variant, call in self.variants.items():
            for _ in range(2):
                result, self.seconds[variant] = timed(call)
                del result
                if self.seconds[variant] > max(HOPELESS_FROM, HOPELESS * min(self.seconds.values())):
                    break
        self.variant = min(self.seconds, key=self.seconds.get)
        self.call = self.variants[self.variant]

    def warm_up(self) -> dict:
        from memory import call_with_peak

        self.choose()
        for attempt in range(2):
            (result, peak), seconds = timed(lambda: call_with_peak(self.call))
            if attempt == 1 or seconds > WARM_UP_LIMIT:
                break
            del result
        extra = max(0, peak - self.results.size_in_bytes(result))
        error = self.results.relative_error(self.case, result, self.tensor, self.reference, self.inputs)
        variants = {name: self.parts * taken for name, taken in self.seconds.items()}
        whole = {"seconds": self.parts * seconds, "took": seconds, "counts": self.results.counts(self.case, result)}
        return whole | {"extra_bytes": extra, "error": error, "variant": self.variant, "variants": variants}

    def run(self, repeats: int) -> dict:
        best = float("inf")
        for _ in range(repeats):
            result, seconds = timed(self.call)
            del result
            best = min(best, seconds)
        return {"seconds": self.parts * best}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    peer, name, folder, threads = sys.argv[1:5]
    for variable in THREAD_VARIABLES:
        os.environ[variable] = threads
    worker = None
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            if worker is None:
                if "torch" in peer:
                    import torch

                    torch.set_num_threads(int(threads))
                worker = Worker(peer, name, Path(folder))
            answer = worker.warm_up() if command == "warm-up" else worker.run(int(arguments[0]))
        except Exception as error:  # reported to the other side, which shows it in the table
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
