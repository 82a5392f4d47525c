#include "server/config_file.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/status_macros.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/text_format.h"
#include "server/settings.h"
#include "server/text_proto.h"

namespace amend {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Locations = google::protobuf::TextFormat::ParseInfoTree;

// The field of a setting within the message that has it.
const FieldDescriptor* Find(const Message& message, const std::string& name) {
  return message.GetDescriptor()->FindFieldByName(name);
}

// The names on the way to a setting: {"limits", "edit_credits"}.
std::vector<std::string> Path(const Setting& setting) { return absl::StrSplit(setting.field, '.'); }

absl::Status ApplyField(const Setting& setting, absl::string_view name, const Message& message,
                        const FieldDescriptor* field, ServerOptions* options) {
  const google::protobuf::Reflection& read = *message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return SetText(setting, name, read.GetString(message, field), options);
    case FieldDescriptor::CPPTYPE_BOOL:
      return SetText(setting, name, read.GetBool(message, field) ? "true" : "false", options);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return SetNumber(setting, name, read.GetDouble(message, field), options);
    default:
      return SetNumber(setting, name, read.GetInt32(message, field), options);
  }
}

// Does nothing where the file does not have it.
absl::Status ApplySetting(const Setting& setting, absl::string_view file,
                          const v1::ServerConfig& config, const Locations& locations,
                          ServerOptions* options) {
  const Message* message = &config;
  const Locations* where = &locations;
  std::vector<std::string> path = Path(setting);
  const std::string leaf = std::move(path.back());
  path.pop_back();
  for (const std::string& part : path) {
    const FieldDescriptor* const field = Find(*message, part);
    if (!message->GetReflection()->HasField(*message, field)) return absl::OkStatus();
    where = where->GetTreeForNested(field, -1);
    message = &message->GetReflection()->GetMessage(*message, field);
  }
  const FieldDescriptor* const field = Find(*message, leaf);
  if (!message->GetReflection()->HasField(*message, field)) return absl::OkStatus();
  const int line = where->GetLocation(field, -1).line + 1;
  return ApplyField(setting, absl::StrCat(file, ": line ", line, ": ", setting.field), *message,
                    field, options);
}

void WriteSetting(const Setting& setting, ServerOptions& options, v1::ServerConfig* config) {
  Message* message = config;
  const std::vector<std::string> path = Path(setting);
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    message = message->GetReflection()->MutableMessage(message, Find(*message, path[i]));
  }
  const FieldDescriptor* const field = Find(*message, path.back());
  const google::protobuf::Reflection& write = *message->GetReflection();
  const SettingTarget target = setting.target(options);
  if (auto* const* text = std::get_if<std::string*>(&target)) {
    if (!(*text)->empty()) write.SetString(message, field, **text);
  } else if (auto* const* number = std::get_if<int*>(&target)) {
    write.SetInt32(message, field, **number);
  } else if (auto* const* flag = std::get_if<bool*>(&target)) {
    write.SetBool(message, field, **flag);
  } else {
    write.SetDouble(message, field, absl::ToDoubleSeconds(*std::get<absl::Duration*>(target)));
  }
}

}  // namespace

absl::Status ApplyConfigFile(const std::string& path, ServerOptions* options) {
  AMEND_ASSIGN_OR_RETURN(const std::string text, ReadTextFile("the configuration", path));
  return ApplyConfigText(path, text, options);
}

absl::Status ApplyConfigText(absl::string_view name, const std::string& text,
                             ServerOptions* options) {
  v1::ServerConfig config;
  Locations locations;
  AMEND_RETURN_IF_ERROR(ParseTextProto(name, text, &config, &locations));
  for (const Setting& setting : Settings()) {
    AMEND_RETURN_IF_ERROR(ApplySetting(setting, name, config, locations, options));
  }
  if (config.has_profile()) {
    options->profile = config.profile();
    options->profile_name = absl::StrCat(name, ": profile");
  }
  return absl::OkStatus();
}

v1::ServerConfig ConfigOf(ServerOptions options) {
  v1::ServerConfig config;
  for (const Setting& setting : Settings()) WriteSetting(setting, options, &config);
  if (options.profile) *config.mutable_profile() = *options.profile;
  return config;
}

}  // namespace amend
