#ifndef AMEND_CORE_MODEL_TESTING_MODEL_DIRECTORY_H_
#define AMEND_CORE_MODEL_TESTING_MODEL_DIRECTORY_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace amend {

// The whole file as bytes; empty, with a test failure, when there is none.
std::string ReadBytes(const std::string& path);
void WriteBytes(const std::string& path, const std::string& bytes);

// A fresh empty directory of the running test.
std::string FreshDirectory(const std::string& name);

// FreshDirectory(name) with the config.json and the weight file of `source`.
std::string CopyModel(const std::string& source, const std::string& name);

// A safetensors file: length, header, data.
std::string SafetensorsBytes(const nlohmann::json& header, const std::string& data);

// Splits `directory`/model.safetensors into `count` shards with model.safetensors.index.json and
// removes it. Returns the shards' names.
std::vector<std::string> SplitIntoShards(const std::string& directory, int count);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_TESTING_MODEL_DIRECTORY_H_
