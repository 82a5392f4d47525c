#include "core/base/utf8.h"

namespace amend {
namespace {

// Length of a character that `lead` begins, and the range of its second byte (Unicode 15, table
// 3-7); length 0 for a byte that begins none.
struct LeadByte {
  size_t length;
  unsigned char second_low = 0x80;
  unsigned char second_high = 0xBF;
};

LeadByte Classify(unsigned char lead) {
  if (lead < 0x80) return {1};
  if (lead < 0xC2) return {0};
  if (lead < 0xE0) return {2};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};  // no surrogates
  if (lead < 0xF0) return {3};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead < 0xF4) return {4};
  if (lead == 0xF4) return {4, 0x80, 0x8F};  // up to U+10FFFF
  return {0};
}

}  // namespace

Utf8Step FirstUtf8(absl::string_view bytes) {
  const LeadByte lead = Classify(static_cast<unsigned char>(bytes[0]));
  if (lead.length == 0) return {Utf8Step::Kind::kInvalid, 1};
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {Utf8Step::Kind::kIncomplete, i};
    const unsigned char byte = static_cast<unsigned char>(bytes[i]);
    const unsigned char low = i == 1 ? lead.second_low : 0x80;
    const unsigned char high = i == 1 ? lead.second_high : 0xBF;
    if (byte < low || byte > high) return {Utf8Step::Kind::kInvalid, i};
  }
  return {Utf8Step::Kind::kValid, lead.length};
}

}  // namespace amend
