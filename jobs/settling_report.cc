#include "jobs/settling_report.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace amend::jobs {
namespace {

std::string Number(const std::optional<double>& value) {
  return value.has_value() ? absl::StrFormat("%.4f", *value) : "-";
}

nlohmann::ordered_json Field(const std::optional<double>& value) {
  return value.has_value() ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

}  // namespace

std::string SettlingTable(const CovarianceRun& run) {
  if (run.settling.empty()) return "";
  std::string table = absl::StrFormat("%-22s %5s  %8s  %16s  %8s\n", "tokens", "layer", "moment",
                                      "direction", "leverage");
  absl::StrAppendFormat(&table, "%-22s %5s  %8s  %8s%8s  %8s\n", "", "", "change", "median",
                        "worst", "change");
  for (const SettlingStep& step : run.settling) {
    absl::StrAppendFormat(&table, "%-22s %5d  %8.4f  %8s%8s  %8s\n",
                          absl::StrCat(step.from_tokens, " -> ", step.to_tokens),
                          step.layer.value(), step.moment_change, Number(step.median_cosine),
                          Number(step.smallest_cosine), Number(step.median_leverage_change));
  }
  absl::StrAppend(
      &table,
      "moment: relative change of E[k k'] (Frobenius). direction: cosine of an edit's "
      "direction\nbefore and after, over 32 keys. leverage: relative change of k' M^-1 k, "
      "median.\n");
  return table;
}

std::string SettlingJson(const CovarianceRun& run) {
  nlohmann::ordered_json json;
  json["tokens"] = run.covariance.tokens;
  json["lines"] = run.lines;
  json["steps"] = nlohmann::ordered_json::array();
  for (const SettlingStep& step : run.settling) {
    json["steps"].push_back({{"layer", step.layer.value()},
                             {"from_tokens", step.from_tokens},
                             {"to_tokens", step.to_tokens},
                             {"moment_change", step.moment_change},
                             {"direction_cosine_median", Field(step.median_cosine)},
                             {"direction_cosine_smallest", Field(step.smallest_cosine)},
                             {"leverage_change_median", Field(step.median_leverage_change)}});
  }
  return absl::StrCat(json.dump(2), "\n");
}

}  // namespace amend::jobs
