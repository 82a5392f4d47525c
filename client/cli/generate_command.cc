#include "client/cli/generate_command.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

v1::GenerateRequest MakeRequest(const GenerateOptions& options) {
  v1::GenerateRequest request;
  request.set_prompt(options.prompt);
  request.set_max_new_tokens(options.max_new_tokens);
  request.set_temperature(options.temperature);
  request.set_top_k(options.top_k);
  request.set_top_p(options.top_p);
  request.set_repetition_penalty(options.repetition_penalty);
  request.set_seed(options.seed);
  for (const std::string& text : options.stop) request.add_stop(text);
  *request.mutable_at() = ToSelector(options.at);
  request.set_trace_hooks(options.trace_hooks);
  return request;
}

void PrintFirings(const CommandContext& context,
                  const google::protobuf::RepeatedPtrField<v1::HookFiring>& firings) {
  for (const v1::HookFiring& firing : firings) {
    *context.out << absl::StrFormat("token %d layer %d: edit %d/%d fired at %.2f\n",
                                    firing.token_position(), firing.layer(), firing.revision(),
                                    firing.edit_index(), firing.relative_activation());
  }
}

OrderedJson FiringsJson(const google::protobuf::RepeatedPtrField<v1::HookFiring>& firings) {
  OrderedJson list = OrderedJson::array();
  for (const v1::HookFiring& firing : firings) {
    list.push_back({{"token_position", firing.token_position()},
                    {"layer", firing.layer()},
                    {"revision", firing.revision()},
                    {"edit_index", firing.edit_index()},
                    {"relative_activation", firing.relative_activation()}});
  }
  return list;
}

// What a whole answer and the last message of a stream have in common.
template <typename Response>
OrderedJson EndJson(const Response& response) {
  return {{"revision", response.revision()},
          {"finish_reason", v1::FinishReason_Name(response.finish_reason())},
          {"prompt_tokens", response.usage().prompt_tokens()},
          {"generated_tokens", response.usage().generated_tokens()},
          {"total_seconds", response.timings().total_seconds()}};
}

template <typename Response>
void PrintEnd(const CommandContext& context, const Response& response) {
  *context.err << absl::StrFormat("revision %d, %d tokens, %.0f ms\n", response.revision(),
                                  response.usage().generated_tokens(),
                                  response.timings().total_seconds() * 1000);
}

int RunWhole(const CommandContext& context, const GenerateOptions& options) {
  const absl::StatusOr<v1::GenerateResponse> response =
      context.client->Generate(MakeRequest(options));
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    OrderedJson object = {{"prompt", options.prompt},
                          {"text", response->text()},
                          {"token_ids", std::vector<int32_t>(response->token_ids().begin(),
                                                             response->token_ids().end())}};
    object.update(EndJson(*response));
    if (options.trace_hooks) object["hook_firings"] = FiringsJson(response->hook_firings());
    PrintJson(context, object);
    return kExitOk;
  }
  *context.out << absl::StripLeadingAsciiWhitespace(response->text()) << std::endl;
  PrintFirings(context, response->hook_firings());
  PrintEnd(context, *response);
  return kExitOk;
}

int RunStream(const CommandContext& context, const GenerateOptions& options) {
  v1::GenerateStreamResponse end;
  bool at_start = true;
  const absl::Status status = context.client->GenerateStream(
      MakeRequest(options), [&](const v1::GenerateStreamResponse& part) {
        if (part.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) {
          const auto firings = end.hook_firings();
          end = part;
          end.mutable_hook_firings()->MergeFrom(firings);
        } else {
          end.mutable_hook_firings()->MergeFrom(part.hook_firings());
        }
        if (context.json) {
          if (!part.text().empty()) PrintJson(context, {{"event", "text"}, {"text", part.text()}});
          return;
        }
        const absl::string_view text =
            at_start ? absl::StripLeadingAsciiWhitespace(part.text()) : part.text();
        at_start = at_start && text.empty();
        *context.out << text << std::flush;
      });
  if (!context.json) *context.out << std::endl;
  if (!status.ok()) return Fail(context, status);
  if (context.json) {
    OrderedJson object = {{"event", "end"}};
    object.update(EndJson(end));
    if (options.trace_hooks) object["hook_firings"] = FiringsJson(end.hook_firings());
    PrintJson(context, object);
    return kExitOk;
  }
  PrintFirings(context, end.hook_firings());
  PrintEnd(context, end);
  return kExitOk;
}

}  // namespace

CLI::App* AddGenerateCommand(CLI::App* app, GenerateOptions* options) {
  CLI::App* command = app->add_subcommand("generate", "Continue a prompt");
  command->add_option("prompt", options->prompt, "Text to continue")->required();
  CLI::Option* revision =
      command->add_option("--revision", options->at.revision, "Answer with it; 0 is unedited")
          ->check(CLI::NonNegativeNumber);
  command->add_option("--label", options->at.label, "Answer with its revision (default live)")
      ->excludes(revision);
  command->add_option("--max-new-tokens", options->max_new_tokens, "0 is the server's default")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--temperature", options->temperature, "0 is greedy")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--top-k", options->top_k, "Sample from the k likeliest tokens")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--top-p", options->top_p, "Sample from the likeliest of this mass")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--repetition-penalty", options->repetition_penalty, "1 is none");
  command->add_option("--seed", options->seed, "Same seed, same text");
  command->add_option("--stop", options->stop, "End before this text; may be repeated");
  command->add_flag("--stream", options->stream, "Print the text as it is made");
  command->add_flag("--trace-hooks", options->trace_hooks, "Say which edits fired at which token");
  return command;
}

int RunGenerate(const CommandContext& context, const GenerateOptions& options) {
  return options.stream ? RunStream(context, options) : RunWhole(context, options);
}

}  // namespace amend::client
