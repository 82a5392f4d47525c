#ifndef AMEND_CORE_EDITING_EDIT_SETTINGS_H_
#define AMEND_CORE_EDITING_EDIT_SETTINGS_H_

#include <string>
#include <vector>

#include "core/base/types.h"

namespace amend {

// Where the output of a hook layer is used.
enum class EditScope {
  // Per edit and token: edit b fires where V_b'x >= beta * V_b'k_b. Looks at one token; the scope
  // that serves.
  kLeverage,
  // The paper's rule, per row: where the z score of |update x| over all tokens of the row reaches
  // alpha. Looks at later tokens and at padding; for comparison with the paper.
  kReference,
};

enum class TargetPrecision { kFloat32, kBFloat16 };

// Hyperparameters of the method (arXiv 2403.05330, section 4 and appendix). Defaults are those of
// the paper's models.
struct EditSettings {
  // Edited layers l_1 < ... < l_m.
  std::vector<LayerIndex> layers;
  // Weight of the background key covariance.
  double lambda = 15000;
  EditScope scope = EditScope::kLeverage;
  // Threshold of kLeverage, in (0, 1).
  double beta = 0.5;
  // kReference: the threshold that every layer begins with; batches lower it.
  double alpha = 2.2;
  // Optimisation of the target value (Adam).
  double learning_rate = 0.5;
  // Iterations at most; the last one takes no step.
  int steps = 20;
  // Bound of |delta| / |z0|.
  double clamp = 0.75;
  double kl_factor = 0.0625;
  // Weight of |delta| / |z0|^2.
  double weight_decay = 0.5;
  // Ends an edit's optimisation.
  double stop_loss = 0.05;
  // Of the matrix products in that optimisation; everything else stays float32.
  TargetPrecision target_precision = TargetPrecision::kFloat32;
  // Block whose output feeds the loss; -1 means the last one.
  int loss_layer = -1;
  // "{}" stands for the prompt. The plain template is always the first and is not listed here.
  std::vector<std::string> context_templates;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_EDIT_SETTINGS_H_
