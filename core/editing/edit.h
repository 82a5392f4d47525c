#ifndef AMEND_CORE_EDITING_EDIT_H_
#define AMEND_CORE_EDITING_EDIT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace amend {

// A prompt whose answer an edit must leave alone. `answer` has no leading space.
struct Probe {
  std::string prompt;
  std::string answer;

  friend bool operator==(const Probe& a, const Probe& b) {
    return a.prompt == b.prompt && a.answer == b.answer;
  }
};

// One corrected fact: the model is to continue `prompt`, which contains `subject`, with " " +
// `target_new`.
struct Edit {
  std::string prompt;
  std::string subject;
  std::string target_new;
  std::vector<std::string> paraphrases;
  std::vector<Probe> probes;
  // The client's own name for it; not interpreted.
  std::string client_edit_id;

  friend bool operator==(const Edit& a, const Edit& b) {
    return a.prompt == b.prompt && a.subject == b.subject && a.target_new == b.target_new &&
           a.paraphrases == b.paraphrases && a.probes == b.probes &&
           a.client_edit_id == b.client_edit_id;
  }
};

// What was measured of one edit or, as means, of a batch; each in [0, 1], absent when there was
// nothing to measure.
struct EditScores {
  std::optional<double> reliability;
  std::optional<double> generality;
  std::optional<double> locality;

  friend bool operator==(const EditScores& a, const EditScores& b) {
    return a.reliability == b.reliability && a.generality == b.generality &&
           a.locality == b.locality;
  }
};

// How the optimisation of one edit's target value ended.
struct TargetReport {
  double loss = 0;
  int32_t steps = 0;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_EDIT_H_
