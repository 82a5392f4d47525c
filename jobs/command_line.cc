#include "jobs/command_line.h"

#include <limits>
#include <sstream>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace amend::jobs {
namespace {

constexpr int kWrongFlags = 2;
constexpr char kFooter[] =
    "Exit codes: 0 done; 1 failed; 2 wrong flags or a file that cannot be used; 130 or 143 stopped "
    "by\nSIGINT or SIGTERM, with a checkpoint: the same command goes on.";

CLI::App* AddCompute(CLI::App* app, ComputeOptions* options) {
  CLI::App* const compute =
      app->add_subcommand("compute", "Estimates the key covariance from a text file");
  compute->add_option("--model", options->model_directory, "Hugging Face model directory")
      ->required();
  compute->add_option("--text", options->text_file, "UTF-8 texts, one per line")->required();
  compute->add_option("--out", options->out_file, "safetensors file to write")->required();
  CLI::Option* const layers =
      compute->add_option("--layers", options->layers, "layers to edit, like 13,14,15")
          ->delimiter(',');
  compute->add_option("--profile", options->profile_file, "take the layers from a profile")
      ->excludes(layers);
  compute->add_option("--tokens", options->max_tokens, "stop after so many tokens (default: all)")
      ->check(CLI::Range(int64_t{1}, std::numeric_limits<int64_t>::max()));
  compute
      ->add_option("--max-tokens-per-text", options->max_tokens_per_text,
                   "tokens used of each text (default: the profile's, else the context length)")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()));
  compute->add_option("--device", options->device, "auto, cpu or cuda")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  compute->add_option("--dtype", options->dtype, "float32 or bfloat16")
      ->capture_default_str()
      ->check(CLI::IsMember({"float32", "bfloat16"}));
  compute
      ->add_option("--threads", options->threads, "threads of one operation; 0: LibTorch chooses")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  compute
      ->add_option("--checkpoint-seconds", options->checkpoint_seconds,
                   "between checkpoints; 0: after every forward")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 86400.0));
  compute->add_flag("--restart", options->restart, "begin anew although there is a checkpoint");
  compute->add_flag("--overwrite", options->overwrite, "replace the file that --out names");
  compute->add_flag("--no-settling", options->no_settling,
                    "do not report how the estimate settles: saves memory and time");
  return compute;
}

CLI::App* AddImport(CLI::App* app, ImportOptions* options) {
  CLI::App* const import = app->add_subcommand(
      "import", "Makes the key covariance from MEMIT's statistics (mom2.mom2, mom2.count)");
  import->add_option("--model", options->model_directory, "Hugging Face model directory")
      ->required();
  import
      ->add_option("--npz", options->npz_files,
                   "one file per layer: LAYER=FILE, or FILE with \".h.LAYER.\" in its name")
      ->required();
  import->add_option("--out", options->out_file, "safetensors file to write")->required();
  import->add_flag("--overwrite", options->overwrite, "replace the file that --out names");
  return import;
}

}  // namespace

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  CommandLine result;
  CLI::App app("amend covariance: makes the key covariance that a profile names",
               "amend covariance");
  app.footer(kFooter);
  app.require_subcommand(1);
  AddCompute(&app, &result.compute)->footer(kFooter);
  const CLI::App* const import = AddImport(&app, &result.import);
  try {
    app.parse(argc, argv);
    if (import->parsed()) result.command = CommandLine::Command::kImport;
  } catch (const CLI::Success& help) {
    std::ostringstream out;
    app.exit(help, out, out);
    result.exit_code = 0;
    result.message = out.str();
  } catch (const CLI::ParseError& error) {
    result.exit_code = kWrongFlags;
    result.message =
        absl::StrCat("amend covariance: ", absl::StrReplaceAll(error.what(), {{"\n", " "}}),
                     " (see amend covariance --help)");
  }
  return result;
}

}  // namespace amend::jobs
