#ifndef AMEND_CLIENT_CLI_REVISION_TEXT_H_
#define AMEND_CLIENT_CLI_REVISION_TEXT_H_

#include <string>

#include "amend/v1/revision.pb.h"
#include "client/cli/command.h"

namespace amend::client {

// Revisions and labels as the commands show them. Pure functions; thread-safe.

// "2024-02-29T12:00:00Z", or "-" for a time that is not set.
std::string TimeText(const google::protobuf::Timestamp& time);
// "validated"
std::string StateText(amend::v1::Revision::State state);
// "live,canary", then what holds the revision or took it: "live (pinned)", "(deleted)", "(purged)".
std::string MarksText(const amend::v1::Revision& revision);
// "5  The prompt -> the target"
// Who sent its batch or withdrawal, "-" where nobody was asked.
std::string ActorText(const amend::v1::Revision& revision);
std::string EditText(int index, const amend::v1::Edit& edit);

// Without its edits.
OrderedJson ToJson(const amend::v1::Revision& revision);
OrderedJson ToJson(const amend::v1::Label& label);
OrderedJson ToJson(const amend::v1::Edit& edit);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_REVISION_TEXT_H_
