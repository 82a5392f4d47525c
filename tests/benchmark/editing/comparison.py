"""Compares what two programs computed for the same edits.

Plain Python, so that it can be tested where neither torch nor numpy is. Results
are safetensors files with

    batch{b}.target_z           [B, d]
    batch{b}.layer{l}.update    [d_out, d_in]
    batch{b}.layer{l}.alpha     scalar
    batch{b}.loss               [B], ours alone: what each optimisation ended with

Differences are relative to the largest magnitude of the reference's tensor.
"""

import array
import dataclasses
import json
import math
import operator
import struct

TOLERANCES = {"target_z": 1e-3, "update": 1e-2, "alpha": 1e-2}
# Absolute; the reference code prints three decimals.
LOSS_TOLERANCE = 1e-2

_TYPE_CODES = {"F32": "f", "F64": "d"}


class ResultFile:
    """A safetensors file of floats, read tensor by tensor."""

    def __init__(self, path):
        self._path = path
        with open(path, "rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            self._tensors = json.loads(file.read(size))
        self._tensors.pop("__metadata__", None)
        self._begin = 8 + size

    def names(self):
        return set(self._tensors)

    def shape(self, name):
        return tuple(self._tensors[name]["shape"])

    def values(self, name):
        """All elements in row-major order."""
        tensor = self._tensors[name]
        begin, end = tensor["data_offsets"]
        values = array.array(_TYPE_CODES[tensor["dtype"]])
        with open(self._path, "rb") as file:
            file.seek(self._begin + begin)
            values.frombytes(file.read(end - begin))
        return values


@dataclasses.dataclass
class Difference:
    """How far one tensor is from the reference's."""

    name: str
    largest: float  # relative; not finite where a value is not
    tolerance: float
    # The first element beyond the tolerance, None if there is none.
    first_bad: tuple = None
    ours: float = None
    reference: float = None

    @property
    def good(self):
        return self.first_bad is None

    def __str__(self):
        text = f"{self.name}: largest difference {self.largest:.2g}, allowed {self.tolerance:g}"
        if self.good:
            return text
        index = ", ".join(map(str, self.first_bad))
        return f"{text}; first bad element [{index}]: ours {self.ours:.8g}, reference {self.reference:.8g}"


def _unravel(position, shape):
    index = []
    for size in reversed(shape):
        position, rest = divmod(position, size)
        index.append(rest)
    return tuple(reversed(index))


def compare_values(name, ours, reference, shape, tolerance):
    """The Difference of two flat sequences of the same length."""
    for values in (ours, reference):
        if not all(map(math.isfinite, values)):
            bad = next(i for i, value in enumerate(values) if not math.isfinite(value))
            return Difference(name, math.inf, tolerance, _unravel(bad, shape), ours[bad], reference[bad])
    scale = max(map(abs, reference), default=0) or 1
    largest = max(map(abs, map(operator.sub, ours, reference)), default=0) / scale
    if largest <= tolerance:
        return Difference(name, largest, tolerance)
    bound = tolerance * scale
    bad = next(i for i, pair in enumerate(zip(ours, reference)) if abs(pair[0] - pair[1]) > bound)
    return Difference(name, largest, tolerance, _unravel(bad, shape), ours[bad], reference[bad])


def compare_results(ours, reference):
    """The Differences of two ResultFiles, of target values first.

    ValueError when they do not hold the same tensors in the same shapes.
    """
    names = [n for n in reference.names() if n.rpartition(".")[2] in TOLERANCES]
    missing = sorted(set(names) - ours.names())
    if missing or not names:
        raise ValueError(f"not in our result: {', '.join(missing) or 'any tensor'}")
    differences = []
    for name in sorted(names, key=lambda n: (not n.endswith(".target_z"), n)):
        shapes = ours.shape(name), reference.shape(name)
        if math.prod(shapes[0]) != math.prod(shapes[1]) or (len(shapes[1]) > 1 and shapes[0] != shapes[1]):
            raise ValueError(f"{name} is {list(shapes[0])} in our result, {list(shapes[1])} in the reference's")
        tolerance = TOLERANCES[name.rpartition(".")[2]]
        differences.append(compare_values(name, ours.values(name), reference.values(name), shapes[1], tolerance))
    return differences


def losses(ours):
    """The losses in a ResultFile, edit by edit; None if it has none."""
    count = sum(name.endswith(".target_z") for name in ours.names())
    names = [f"batch{batch}.loss" for batch in range(count)]
    if not set(names) <= ours.names():
        return None
    return [loss for name in names for loss in ours.values(name)]


@dataclasses.dataclass
class Verdict:
    """Whether two results are the same, and in words why."""

    same: bool
    lines: list


def judge(differences, our_losses, reference_losses, random_weights):
    """The Verdict on a whole run.

    With trained weights every tensor has to agree. With random weights a target
    value may stand where rounding decides (a gradient near zero has no sign, and
    the optimiser's first steps are signs): if one differs, the losses that the
    optimisation reached have to agree instead, and what follows from the target
    values is not compared.
    """
    lines = [str(difference) for difference in differences]
    bad = [difference for difference in differences if not difference.good]
    if not bad:
        return Verdict(True, lines)
    undecided = any(difference.name.endswith(".target_z") for difference in bad)
    finite = all(math.isfinite(difference.largest) for difference in bad)
    if not (random_weights and undecided and finite):
        return Verdict(False, lines)
    if our_losses is None or len(our_losses) != len(reference_losses):
        return Verdict(False, lines + ["target values differ, and there are no losses to compare"])
    losses = compare_losses(our_losses, reference_losses)
    lines.append("random weights, and target values differ: the losses are compared instead")
    lines.append(str(losses))
    return Verdict(losses.good, lines)


def compare_losses(ours, reference):
    """The Difference of two lists of losses; absolute, not relative."""
    apart = [abs(a - b) for a, b in zip(ours, reference)]
    bad = next((i for i, difference in enumerate(apart) if not difference <= LOSS_TOLERANCE), None)
    largest = max(apart) if all(map(math.isfinite, apart)) else math.inf
    if bad is None:
        return Difference("losses", largest, LOSS_TOLERANCE)
    return Difference("losses", largest, LOSS_TOLERANCE, (bad,), ours[bad], reference[bad])


def report(verdict, seconds, matmul_gflops):
    """What is printed at the end: times only when the results are the same.

    `seconds` maps what ran to its seconds per edit, the reference first.
    """
    lines = ["same result:" if verdict.same else "DIFFERENT RESULTS, no times:"]
    lines += [f"  {line}" for line in verdict.lines]
    if not verdict.same:
        return "\n".join(lines)
    reference = next(iter(seconds.values()))
    lines += ["", f"{'':24}{'seconds per edit':>18}{'reference / this':>18}"]
    lines += [f"{name:24}{value:18.4f}{reference / value:18.1f}" for name, value in seconds.items()]
    lines.append(f"float32 products on this machine, in this run: {matmul_gflops:.0f} GFLOP/s")
    return "\n".join(lines)
