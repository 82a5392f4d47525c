// The libraries of the system and LibTorch work in one process. LibTorch exports
// a protobuf of its own, so this is not a matter of course.

#include <ATen/ATen.h>
#include <google/protobuf/util/message_differencer.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <openssl/sha.h>
#include <pcre2.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <rocksdb/db.h>
#include <torch/csrc/autograd/variable.h>
#include <utf8proc.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/random/random.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

TEST(LinkTest, LibTorchComputesGradients) {
  const at::Tensor a = at::ones({2, 3}).requires_grad_(true);
  const at::Tensor b = at::full({3, 2}, 2.0);
  at::matmul(a, b).sum().backward();
  EXPECT_TRUE(at::equal(a.grad(), at::full({2, 3}, 4.0)));
}

TEST(LinkTest, ProtobufRoundTrips) {
  google::rpc::BadRequest request;
  request.add_field_violations()->set_field("edits[0].subject");
  google::rpc::BadRequest parsed;
  ASSERT_TRUE(parsed.ParseFromString(request.SerializeAsString()));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(request, parsed));
}

TEST(LinkTest, GrpcServerListensAndReflects) {
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);
  EXPECT_NE(port, 0);
  const auto channel =
      grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials());
  EXPECT_TRUE(
      channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(30)));
  server->Shutdown();
}

TEST(LinkTest, RocksDbStoresAndLoads) {
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* opened = nullptr;
  ASSERT_TRUE(
      rocksdb::DB::Open(options, absl::StrCat(testing::TempDir(), "/link_test_db"), &opened).ok());
  const std::unique_ptr<rocksdb::DB> db(opened);
  rocksdb::WriteOptions synced;
  synced.sync = true;
  ASSERT_TRUE(db->Put(synced, "key", "value").ok());
  std::string value;
  ASSERT_TRUE(db->Get(rocksdb::ReadOptions(), "key", &value).ok());
  EXPECT_EQ(value, "value");
}

TEST(LinkTest, PrometheusSerializesACounter) {
  prometheus::Registry registry;
  prometheus::BuildCounter().Name("amend_test_total").Register(registry).Add({}).Increment();
  EXPECT_THAT(prometheus::TextSerializer().Serialize(registry.Collect()),
              testing::HasSubstr("amend_test_total 1"));
}

TEST(LinkTest, AbseilContainersStatusAndMutex) {
  absl::Mutex mutex;
  absl::MutexLock lock(&mutex);
  absl::flat_hash_map<std::string, int> map = {{"one", 1}};
  const absl::StatusOr<int> found = map.at("one");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(*found, 1);
  absl::BitGen generator;
  EXPECT_LT(absl::Uniform(generator, 0, 10), 10);
}

TEST(LinkTest, JsonPcre2Utf8ProcAndSha256) {
  EXPECT_EQ(nlohmann::json::parse(R"({"a": [1, 2]})")["a"][1], 2);

  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>("\\p{L}+"), PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
  ASSERT_NE(code, nullptr);
  pcre2_code_free(code);

  EXPECT_TRUE(utf8proc_codepoint_valid(0x2581));

  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>("abc"), 3, digest);
  EXPECT_EQ(digest[0], 0xba);
}

}  // namespace
}  // namespace amend
