#include "client/cli/command.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::HasSubstr;

struct Console {
  Console() : client(Client::Create({"127.0.0.1:1"})) {
    context.client = client.get();
    context.out = &out;
    context.err = &err;
  }
  std::unique_ptr<Client> client;
  std::ostringstream out;
  std::ostringstream err;
  CommandContext context;
};

TEST(CommandTest, ALostConnectionNamesTheServer) {
  Console console;
  EXPECT_EQ(Fail(console.context, absl::UnavailableError("refused")), kExitUnreachable);
  EXPECT_EQ(console.err.str(), "error: cannot reach 127.0.0.1:1: refused\n");
}

TEST(CommandTest, AServersErrorKeepsItsCode) {
  Console console;
  EXPECT_EQ(Fail(console.context, absl::NotFoundError("no revision 7")), kExitServerError);
  EXPECT_EQ(console.err.str(), "error: NOT_FOUND: no revision 7\n");
}

TEST(CommandTest, JsonHasTheErrorToo) {
  Console console;
  console.context.json = true;
  Fail(console.context, absl::NotFoundError("no revision 7"));
  EXPECT_THAT(console.out.str(), HasSubstr("\"message\":\"no revision 7\""));
}

TEST(CommandTest, JsonIsAlwaysUtf8) {
  Console console;
  PrintJson(console.context, {{"text", "a\xff"}});
  EXPECT_EQ(console.out.str(), "{\"text\":\"a\xEF\xBF\xBD\"}\n");
}

TEST(CommandTest, ColumnsCountCodePoints) {
  EXPECT_EQ(Column("Dvo\xC5\x99\xC3\xA1k", 8), "Dvo\xC5\x99\xC3\xA1k  ");
  EXPECT_EQ(Column("abcdefgh", 8), "abcdefgh");
  EXPECT_EQ(Column("abcdefghi", 8), "abcde...");
  EXPECT_EQ(Column("\xC5\x99\xC5\x99\xC5\x99\xC5\x99\xC5\x99", 4), "\xC5\x99...");
}

TEST(CommandTest, NoSelectorMeansTheServersDefault) {
  EXPECT_EQ(ToSelector({}).at_case(), amend::v1::RevisionSelector::AT_NOT_SET);
  SelectorOptions base;
  base.revision = 0;
  EXPECT_TRUE(ToSelector(base).has_revision());
}

}  // namespace
}  // namespace amend::client
