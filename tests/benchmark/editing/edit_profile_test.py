"""Tests of what a profile becomes for the reference code."""

import unittest

from tests.benchmark.editing import edit_profile

TEMPLATES = 'context_templates { templates: "A. {}" templates: "B. {}" }'


class SettingsTest(unittest.TestCase):
    def test_defaults_are_those_of_the_proto(self):
        settings = edit_profile.settings("layers: [ 1, 2 ] lambda: 25 " + TEMPLATES)
        self.assertEqual(settings["layers"], [1, 2])
        self.assertEqual(settings["lambda"], 25)
        self.assertEqual(settings["templates"], ["A. {}", "B. {}"])
        self.assertEqual((settings["alpha"], settings["clamp"], settings["steps"]), (2.2, 0.75, 20))
        self.assertEqual((settings["learning_rate"], settings["kl_factor"]), (0.5, 0.0625))
        self.assertEqual((settings["weight_decay"], settings["loss_layer"]), (0.5, -1))

    def test_given_values_are_kept(self):
        settings = edit_profile.settings(
            "layers: 1 scope { alpha: 3 } target { steps: 30 clamp: 4 loss_layer: 0 } " + TEMPLATES
        )
        self.assertEqual((settings["alpha"], settings["steps"], settings["clamp"]), (3, 30, 4))
        self.assertEqual(settings["loss_layer"], 0)

    def test_what_the_reference_code_cannot_be_told_is_an_error(self):
        for text, error in (
            ("layers: 1", "context templates"),
            (TEMPLATES, "layers"),
            ("layers: 1 target { stop_loss: 0.1 } " + TEMPLATES, "stop_loss"),
        ):
            with self.subTest(text=text), self.assertRaisesRegex(ValueError, error):
                edit_profile.settings(text)

    def test_the_scope_is_replaced_and_the_rest_kept(self):
        text = edit_profile.with_scope("lambda: 7 scope { mode: LEVERAGE alpha: 3 }", "REFERENCE")
        self.assertIn("mode: REFERENCE", text)
        self.assertIn("alpha: 3", text)
        self.assertIn("lambda: 7", text)


if __name__ == "__main__":
    unittest.main()
