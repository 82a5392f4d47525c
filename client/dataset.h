#ifndef AMEND_CLIENT_DATASET_H_
#define AMEND_CLIENT_DATASET_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "amend/v1/edit.pb.h"

namespace amend::client {

// One record of an edit file.
struct EditRecord {
  amend::v1::Edit edit;
  // What an evaluation measures generality on: the record's rephrase_prompt where it has one (as
  // the published numbers do), else all its paraphrases.
  std::vector<std::string> evaluation_paraphrases;
  // Where the record starts in the file, counted from 1.
  int line = 0;
};

// Reads edits from a file: JSON Lines, or one JSON array. Each record is an object in one of three
// spellings, which may be mixed; unknown fields are ignored.
//
//   Amend        prompt, subject, target_new, paraphrases[], locality_probes[{prompt, answer}],
//                client_edit_id
//   CounterFact  prompt, subject, target_new (string or {"str": ...}), rephrase_prompt,
//                locality_prompt + locality_ground_truth, case_id
//   zsRE (MEND)  src, subject, alt, rephrase, loc + loc_ans ("nq question: " before loc is dropped)
//
// rephrase_prompt, rephrase, locality_prompt and loc may be a string or a list of strings, an
// answer then a list of the same length. Spaces around targets and answers are dropped.
//
// A record that is not JSON, lacks a field, or has one of the wrong type is INVALID_ARGUMENT with
// file, line and field: `edits.jsonl:7: field "subject": missing`. An unreadable file is NOT_FOUND.
// Thread-safe.
//
// With `bad` given, such records are left out and their errors appended to it; published files have
// a few (an empty target). What is not a list of JSON values at all remains an error.
absl::StatusOr<std::vector<EditRecord>> ReadEdits(const std::string& path,
                                                  std::vector<absl::Status>* bad = nullptr);

// The same from text; `name` stands for the file in errors.
absl::StatusOr<std::vector<EditRecord>> ParseEdits(absl::string_view text, absl::string_view name,
                                                   std::vector<absl::Status>* bad = nullptr);

// A whole file. NOT_FOUND when it cannot be read.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);

}  // namespace amend::client

#endif  // AMEND_CLIENT_DATASET_H_
