#ifndef AMEND_TESTS_QUALITY_DEMO_MODEL_H_
#define AMEND_TESTS_QUALITY_DEMO_MODEL_H_

#include <string>
#include <vector>

#include "core/editing/edit.h"
#include "core/editing/edit_settings.h"

namespace amend {

// The demo model and its facts, as the tests of this folder edit them. Paths are relative to the
// root of the tree, where tests run.
inline constexpr char kModel[] = "models/demo";

// Layers 0 and 1, lambda 25, clamp 4, 30 steps, the model's own context templates.
EditSettings DemoSettings();
// What the key covariance is estimated from.
std::vector<std::string> CovarianceTexts();
// The first `count` facts of the world with their new targets, a paraphrase and a probe each.
std::vector<Edit> FirstFacts(size_t count);

}  // namespace amend

#endif  // AMEND_TESTS_QUALITY_DEMO_MODEL_H_
