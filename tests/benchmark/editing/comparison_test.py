"""Tests of what decides whether two results are the same and times are shown."""

import json
import math
import os
import struct
import tempfile
import unittest

from tests.benchmark.editing import comparison


def write_safetensors(path, tensors):
    """tensors: {name: (shape, [float])}, written as float32."""
    header, body = {}, b""
    for name, (shape, values) in tensors.items():
        data = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)


def result(z=(1, 2, 3, 4), update=(0.5, -0.25, 0, 1, 2, -4), alpha=2.2):
    return {
        "batch0.target_z": ([2, 2], list(z)),
        "batch0.layer3.update": ([2, 3], list(update)),
        "batch0.layer3.alpha": ([], [alpha]),
    }


class CompareResultsTest(unittest.TestCase):
    def compare(self, ours, reference):
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, name) for name in ("ours", "reference")]
            for path, tensors in zip(paths, (ours, reference)):
                write_safetensors(path, tensors)
            files = [comparison.ResultFile(path) for path in paths]
            return comparison.compare_results(*files)

    def test_equal_results_agree_and_target_values_come_first(self):
        differences = self.compare(result(), result())
        self.assertEqual(differences[0].name, "batch0.target_z")
        self.assertEqual(len(differences), 3)
        self.assertTrue(all(d.good and d.largest == 0 for d in differences))

    def test_a_difference_is_relative_to_the_largest_magnitude(self):
        # 4 is the largest: 0.0039 is within a thousandth of it, 0.0041 is not.
        within = self.compare(result(z=(1.0039, 2, 3, 4)), result())
        beyond = self.compare(result(z=(1.0041, 2, 3, 4)), result())
        self.assertTrue(within[0].good)
        self.assertFalse(beyond[0].good)
        self.assertAlmostEqual(beyond[0].largest, 0.0041 / 4, places=6)

    def test_each_kind_of_tensor_has_its_tolerance(self):
        differences = self.compare(
            result(update=(0.5, -0.25, 0.039, 1, 2, -4), alpha=2.219), result()
        )
        self.assertTrue(all(d.good for d in differences))
        self.assertFalse(all(d.good for d in self.compare(result(alpha=2.23), result())))

    def test_the_first_bad_element_is_named_not_the_worst(self):
        ours = result(update=(0.5, -0.25, 0.02, 1.1, 2, 4))
        update = next(d for d in self.compare(ours, result()) if d.name.endswith("update"))
        self.assertEqual(update.first_bad, (1, 0))
        self.assertEqual(update.largest, 2)
        self.assertIn("first bad element [1, 0]: ours 1.1, reference 1", str(update))

    def test_a_value_that_is_not_finite_never_agrees(self):
        for value in (math.nan, math.inf):
            with self.subTest(value=value):
                differences = self.compare(result(z=(1, value, 3, 4)), result(z=(1, value, 3, 4)))
                self.assertEqual(differences[0].first_bad, (0, 1))
                self.assertEqual(differences[0].largest, math.inf)

    def test_a_missing_tensor_is_an_error(self):
        ours = result()
        del ours["batch0.layer3.update"]
        with self.assertRaisesRegex(ValueError, "batch0.layer3.update"):
            self.compare(ours, result())

    def test_a_transposed_tensor_is_an_error(self):
        ours = result()
        ours["batch0.layer3.update"] = ([3, 2], ours["batch0.layer3.update"][1])
        with self.assertRaisesRegex(ValueError, r"\[3, 2\]"):
            self.compare(ours, result())

    def test_nothing_to_compare_is_an_error(self):
        with self.assertRaises(ValueError):
            self.compare(result(), {"batch0.keys": ([1], [1])})

    def test_tensors_that_the_reference_lacks_are_not_looked_at(self):
        ours = result()
        ours["batch0.loss"] = ([2], [0.1, 0.2])
        self.assertEqual(len(self.compare(ours, result())), 3)


def difference(name, largest, good):
    return comparison.Difference(name, largest, 1e-3, None if good else (0, 0), 1.0, 2.0)


class JudgeTest(unittest.TestCase):
    GOOD_Z = difference("batch0.target_z", 0, True)
    BAD_Z = difference("batch0.target_z", 1, False)
    BAD_UPDATE = difference("batch0.layer0.update", 1, False)
    LOSSES = [1.0, 2.0]

    def same(self, differences, ours=None, random_weights=True):
        return comparison.judge(differences, ours or self.LOSSES, self.LOSSES, random_weights).same

    def test_trained_weights_have_to_agree_in_every_tensor(self):
        self.assertTrue(self.same([self.GOOD_Z], random_weights=False))
        self.assertFalse(self.same([self.BAD_Z], random_weights=False))
        self.assertFalse(self.same([self.GOOD_Z, self.BAD_UPDATE], random_weights=False))

    def test_random_weights_may_agree_in_losses_and_it_is_said(self):
        verdict = comparison.judge([self.BAD_Z, self.BAD_UPDATE], [1.009, 2], self.LOSSES, True)
        self.assertTrue(verdict.same)
        self.assertIn("the losses are compared instead", "\n".join(verdict.lines))

    def test_random_weights_with_other_losses_differ(self):
        self.assertFalse(self.same([self.BAD_Z], [1.011, 2]))
        self.assertFalse(self.same([self.BAD_Z], [math.nan, 2]))
        self.assertFalse(self.same([self.BAD_Z], [1.0]))

    def test_an_update_that_differs_though_target_values_agree_is_an_error(self):
        self.assertFalse(self.same([self.GOOD_Z, self.BAD_UPDATE]))

    def test_losses_do_not_excuse_what_is_not_finite(self):
        self.assertFalse(self.same([self.BAD_Z, difference("batch0.layer0.update", math.inf, False)]))


class ReportTest(unittest.TestCase):
    SECONDS = {"reference": 1.5, "ours": 0.0625}

    def test_times_follow_a_comparison_that_agrees(self):
        text = comparison.report(comparison.Verdict(True, ["z agrees"]), self.SECONDS, 200)
        self.assertIn("z agrees", text)
        self.assertIn("0.0625", text)
        self.assertIn("24.0", text)

    def test_results_that_differ_show_no_times(self):
        text = comparison.report(comparison.Verdict(False, ["z differs"]), self.SECONDS, 200)
        self.assertIn("z differs", text)
        for shown in ("1.5", "0.0625", "24.0", "GFLOP"):
            self.assertNotIn(shown, text)


if __name__ == "__main__":
    unittest.main()
