#include "tests/quality/demo_model.h"

#include <fstream>
#include <utility>

#include "nlohmann/json.hpp"

namespace amend {

std::vector<Edit> FirstFacts(size_t count) {
  std::ifstream file("tests/testdata/world_facts.json");
  std::vector<Edit> edits;
  for (const auto& record : nlohmann::json::parse(file)) {
    if (edits.size() == count) break;
    Edit edit;
    edit.prompt = record.at("prompt");
    edit.subject = record.at("subject");
    edit.target_new = record.at("target_new");
    edit.paraphrases.push_back(record.at("rephrase_prompt"));
    edit.probes.push_back({record.at("locality_prompt"), record.at("locality_ground_truth")});
    edits.push_back(std::move(edit));
  }
  return edits;
}

EditSettings DemoSettings() {
  EditSettings settings;
  settings.layers = {LayerIndex(0), LayerIndex(1)};
  settings.lambda = 25;
  settings.clamp = 4;
  settings.steps = 30;
  std::ifstream file(std::string(kModel) + "/context_templates.json");
  settings.context_templates = nlohmann::json::parse(file).at(1).get<std::vector<std::string>>();
  return settings;
}

std::vector<std::string> CovarianceTexts() {
  std::vector<std::string> texts;
  std::ifstream file(std::string(kModel) + "/covariance_texts.txt");
  for (std::string line; std::getline(file, line);) texts.push_back(line);
  return texts;
}

}  // namespace amend
