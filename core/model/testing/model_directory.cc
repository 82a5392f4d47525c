#include "core/model/testing/model_directory.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "gtest/gtest.h"

namespace amend {

using Json = nlohmann::json;

std::string ReadBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  std::stringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  EXPECT_TRUE(file.good()) << path;
}

std::string FreshDirectory(const std::string& name) {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  const std::string directory = testing::TempDir() + "/" + info->name() + "_" + name;
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  return directory;
}

std::string CopyModel(const std::string& source, const std::string& name) {
  const std::string directory = FreshDirectory(name);
  for (const char* file : {"/config.json", "/model.safetensors"}) {
    WriteBytes(directory + file, ReadBytes(source + file));
  }
  return directory;
}

std::string SafetensorsBytes(const Json& header, const std::string& data) {
  const std::string text = header.dump();
  const uint64_t size = text.size();
  std::string bytes(sizeof(size), '\0');
  std::memcpy(bytes.data(), &size, sizeof(size));
  return bytes + text + data;
}

std::vector<std::string> SplitIntoShards(const std::string& directory, int count) {
  const std::string single = directory + "/model.safetensors";
  const std::string bytes = ReadBytes(single);
  uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), sizeof(header_size));
  const Json header = Json::parse(bytes.substr(sizeof(header_size), header_size));
  const std::string data = bytes.substr(sizeof(header_size) + header_size);

  std::vector<Json> headers(count, Json::object());
  std::vector<std::string> parts(count);
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back("shard-" + std::to_string(i) + ".safetensors");
  Json weight_map;
  int next = 0;
  for (const auto& [tensor, entry] : header.items()) {
    if (tensor == "__metadata__") continue;
    const int shard = next++ % count;
    const uint64_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    Json moved = entry;
    moved["data_offsets"] = {parts[shard].size(), parts[shard].size() + end - begin};
    parts[shard] += data.substr(begin, end - begin);
    headers[shard][tensor] = moved;
    weight_map[tensor] = names[shard];
  }
  for (int i = 0; i < count; ++i) {
    WriteBytes(directory + "/" + names[i], SafetensorsBytes(headers[i], parts[i]));
  }
  WriteBytes(directory + "/model.safetensors.index.json", Json{{"weight_map", weight_map}}.dump());
  std::filesystem::remove(single);
  return names;
}

}  // namespace amend
