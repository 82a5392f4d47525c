#include "core/model/amx_product.h"

#include <algorithm>
#include <cstring>
#include <vector>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace amend {
namespace {

// A tile holds 16 lines of 64 bytes: of a weight 32 numbers of 16 outputs, of x those of 16 rows
// with pairs side by side, of the sums 16 outputs of 16 rows. For fewer rows the lines of the last
// two are shorter.
constexpr int64_t kTileLines = 16;
constexpr int64_t kTileBytes = 64;
constexpr int64_t kRowsAtOnce = 2 * kTileLines;

int64_t RowTiles(int64_t rows) { return (rows + kTileLines - 1) / kTileLines; }
// Rows side by side in a line. Beyond 16 the last tile is filled up with zeros.
int64_t LineRows(int64_t rows) { return std::min(rows, kTileLines); }

}  // namespace

int64_t AmxPackedSize(int64_t rows, int64_t in) { return RowTiles(rows) * LineRows(rows) * in; }

#if defined(__x86_64__) && defined(__linux__)

namespace {

struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes_of_line[16] = {};
  uint8_t lines[16] = {};
};

bool AskForAmx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAmxBFloat16 = 1u << 22;
  constexpr unsigned kAmxTile = 1u << 24;
  constexpr unsigned kAvx512F = 1u << 16;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & kAmxBFloat16) == 0 || (d & kAmxTile) == 0 || (b & kAvx512F) == 0) return false;
  // The kernel saves the unit's state only for processes that ask.
  constexpr long kAskForComponent = 0x1023;
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kAskForComponent, kTileData) == 0;
}

#define AMEND_AMX __attribute__((target("amx-tile,amx-bf16,avx512f")))

// The compiler does not know that tile instructions read memory: whatever `memory` points to is
// written by now.
inline void Written(const void* memory) { asm volatile("" : : "r"(memory) : "memory"); }

AMEND_AMX __m512i Multiples(int64_t of) {
  return _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                            _mm512_set1_epi32(static_cast<int>(of)));
}

// A line of the packed tile for each pair of the rows' numbers, `width` rows in it, the last
// `width` - `count` of them zero.
AMEND_AMX void PackTile(const BFloat16Bits* x, int64_t count, int64_t width, int64_t in,
                        BFloat16Bits* packed) {
  const __m512i rows = Multiples(in * static_cast<int64_t>(sizeof(BFloat16Bits)));
  const __mmask16 present = static_cast<__mmask16>((1u << count) - 1);
  const __mmask16 stored = static_cast<__mmask16>((1u << width) - 1);
  for (int64_t i = 0; i < in; i += 2) {
    const __m512i pairs =
        _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), present, rows, x + i, 1);
    _mm512_mask_storeu_epi32(packed + i * width, stored, pairs);
  }
}

// Writes the 16 outputs of `count` rows, from a tile that has a line for each output.
AMEND_AMX void StoreTurned(const float* tile, int64_t count, float* y, int64_t y_stride) {
  const __m512i lines = Multiples(kTileLines);
  for (int64_t t = 0; t < count; ++t) {
    _mm512_storeu_ps(y + t * y_stride, _mm512_i32gather_ps(lines, tile + t, sizeof(float)));
  }
}

// 32 outputs of up to 32 rows, packed `width` to a line.
AMEND_AMX void MultiplyTiles(const BFloat16Bits* weight, int64_t in, const BFloat16Bits* packed,
                             int64_t width, int64_t rows, float* y, int64_t y_stride) {
  const BFloat16Bits* const upper = weight + kTileLines * in;
  const int64_t stride = in * static_cast<int64_t>(sizeof(BFloat16Bits));
  const BFloat16Bits* const second = packed + kTileLines * in;
  const int64_t line_bytes = width * 2 * static_cast<int64_t>(sizeof(BFloat16Bits));
  const bool two = rows > kTileLines;
  Written(weight);
  Written(packed);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t i = 0; i < in; i += kAmxInputs) {
    _tile_loadd(4, weight + i, stride);
    _tile_loadd(5, upper + i, stride);
    _tile_loadd(6, packed + i * width, line_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 5, 6);
    if (!two) continue;
    _tile_loadd(7, second + i * kTileLines, kTileBytes);
    _tile_dpbf16ps(2, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
  alignas(64) float sums[4][kTileLines * kTileLines];
  _tile_stored(0, sums[0], kTileBytes);
  _tile_stored(1, sums[1], kTileBytes);
  StoreTurned(sums[0], std::min(rows, kTileLines), y, y_stride);
  StoreTurned(sums[1], std::min(rows, kTileLines), y + kTileLines, y_stride);
  if (!two) return;
  _tile_stored(2, sums[2], kTileBytes);
  _tile_stored(3, sums[3], kTileBytes);
  float* const y_second = y + kTileLines * y_stride;
  StoreTurned(sums[2], rows - kTileLines, y_second, y_stride);
  StoreTurned(sums[3], rows - kTileLines, y_second + kTileLines, y_stride);
}

AMEND_AMX void SetTiles(int64_t width) {
  TileShapes shapes;
  for (int tile = 0; tile < 8; ++tile) {
    const bool weight = tile == 4 || tile == 5;
    shapes.bytes_of_line[tile] = static_cast<uint16_t>(weight ? kTileBytes : width * sizeof(float));
    shapes.lines[tile] = kTileLines;
  }
  Written(&shapes);
  _tile_loadconfig(&shapes);
}

AMEND_AMX void ReleaseTiles() { _tile_release(); }

}  // namespace

void PackRowsForAmx(const BFloat16Bits* x, int64_t rows, int64_t in, int64_t begin, int64_t end,
                    BFloat16Bits* packed) {
  static_assert(kAmxRows == kTileLines);
  for (int64_t t = begin; t < end; t += kTileLines) {
    PackTile(x + t * in, std::min(kTileLines, rows - t), LineRows(rows), in, packed + t * in);
  }
}

bool HasAmx() {
  static const bool has = AskForAmx();
  return has;
}

void MultiplyRowsByAmx(const WeightRows<BFloat16Bits>& weight, const BFloat16Bits* packed,
                       int64_t rows, int64_t begin, int64_t end, float* y, int64_t y_stride) {
  const int64_t width = LineRows(rows);
  const int64_t in = weight.in;
  std::vector<BFloat16Bits> padded;
  SetTiles(width);
  for (int64_t first = begin; first < end; first += kOutputGroup) {
    const BFloat16Bits* numbers = weight.numbers + first * in;
    const int64_t count = std::min(kOutputGroup, weight.out - first);
    if (count < kOutputGroup) {
      padded.resize(kOutputGroup * in);
      std::copy_n(numbers, count * in, padded.begin());
      numbers = padded.data();
    }
    for (int64_t t = 0; t < rows; t += kRowsAtOnce) {
      const int64_t together = std::min(kRowsAtOnce, rows - t);
      const BFloat16Bits* const x = packed + t * in;
      if (count == kOutputGroup) {
        MultiplyTiles(numbers, in, x, width, together, y + t * y_stride + first, y_stride);
        continue;
      }
      float sums[kRowsAtOnce * kOutputGroup];
      MultiplyTiles(numbers, in, x, width, together, sums, kOutputGroup);
      for (int64_t i = 0; i < together; ++i) {
        std::copy_n(sums + i * kOutputGroup, count, y + (t + i) * y_stride + first);
      }
    }
  }
  ReleaseTiles();
}

#else

bool HasAmx() { return false; }

void PackRowsForAmx(const BFloat16Bits*, int64_t, int64_t, int64_t, int64_t, BFloat16Bits*) {}

void MultiplyRowsByAmx(const WeightRows<BFloat16Bits>&, const BFloat16Bits*, int64_t, int64_t,
                       int64_t, float*, int64_t) {}

#endif

}  // namespace amend
