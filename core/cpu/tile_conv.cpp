// The gradient of the weights with AMX tiles. dw[co, tap, ci] is a matrix product: the sum over pixels q of
// dy[q, co] * x[q + tap, ci]. A tile of dy is 16 channels by 32 pixels, one of x 32 pixels, in pairs, by 16 channels.
//
// Pixels are numbered along the rows of x including its border of zeros. dy is numbered alike: its rows are `pitch`
// pixels apart, with zeros between them. So a tap is the same shift of x in every row. With a stride s, pixel q of dy
// belongs to pixel s * q of x. x is laid out once for each remainder of the taps' shifts modulo s and, because pixels
// are paired, separately for even and odd shifts.
//
// A chunk is some images, or some rows of one, whose layouts fit in the cache. Input channels are split into groups,
// so that the sums of a group fit in the cache as well. The threads share the groups and the parts of the chunks
// ("splits"); the splits are added up at the end.
#include <fulcrum/core/cpu/tile_conv.h>

#if defined(__x86_64__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__linux__)
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wuninitialized"  // a false alarm, GCC bug 105593, in its own header
#endif
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#define FULCRUM_TILES 1
#endif

#include <numeric>
#include <vector>

namespace fulcrum::cpu {

namespace {

using std::ptrdiff_t;

// How many tiles of sums may be in the cache: those of a group of input channels, for all taps and output channels.
constexpr int kSumsInCache = 1200;

// The rows of x, with its border, under r rows of dy; and the length of a row.
ptrdiff_t rows_of_x(const DirectConv& g, ptrdiff_t r) {
  return std::max((r - 1) * g.stride + g.kernel_h, r * g.stride);
}
ptrdiff_t pitch_of(const DirectConv& g) { return vectors::round_up(ptrdiff_t{g.w} + 2 * g.padding, g.stride); }

}  // namespace

bool tile_conv_supported(const DirectConv& g) {
  DirectConv whole = g;
  whole.c_out = 8;  // the direct kernels need a multiple of 8 channels; this one does not
  if (g.c_out <= 0 || !direct_conv_supported(whole, ConvPass::kForward)) return false;
  const ptrdiff_t plane = rows_of_x(g, g.out_h) * (pitch_of(g) / g.stride);
  const bool dense = 16 * ptrdiff_t{g.out_h} * g.out_w >= plane;
  return dense && ptrdiff_t{g.kernel_h} * g.kernel_w * ((g.c_out + 15) / 16) <= kSumsInCache;
}

#ifdef FULCRUM_TILES

bool tiles_available() {
  static const bool available = [] {
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    constexpr unsigned kTilesOfBf16 = 1u << 22;                  // CPUID leaf 7, EDX: AMX-BF16
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kTilesOfBf16) != 0 &&
           syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return available;
}

namespace {

using vectors::padded;
using vectors::round_up;

using Pixel = const std::uint16_t*;  // points to the channels of a pixel

constexpr int kRows = 16, kPixels = 32, kTileFloats = kRows * 16, kTileHalves = kRows * kPixels;

int ceil_div(int a, int b) { return (a + b - 1) / b; }

struct Layout {
  int taps, out_blocks, in_blocks;  // blocks of 16 channels
  int group, groups, splits;        // group: blocks of input channels per group
  int images, rows;                 // images, and rows of dy of each, in a chunk
  int bands, chunks;                // chunks per image, and in total
  int x_rows;                       // rows of x of an image in a chunk, with the border
  ptrdiff_t pitch, plane;           // pixels from row to row, and (of dy) from image to image
  ptrdiff_t pixels;                 // pixels of dy in a chunk, rounded up to whole tiles
  std::vector<int> variant;         // which layout of x each tap uses
  std::vector<ptrdiff_t> shift;     // each tap's shift in that layout, in rows of pairs
  std::vector<ptrdiff_t> start;     // first pixel of x in each layout
  ptrdiff_t pairs;                  // pairs of pixels in a layout of x, per block of channels

  Layout(const DirectConv& g, int threads) {
    taps = g.kernel_h * g.kernel_w;
    out_blocks = ceil_div(g.c_out, kRows), in_blocks = ceil_div(g.c_in, kRows);
    groups = ceil_div(in_blocks, std::clamp(kSumsInCache / (taps * out_blocks), 1, in_blocks));
    group = ceil_div(in_blocks, groups);  // groups of equal size
    groups = ceil_div(in_blocks, group);
    pitch = pitch_of(g);
    // bytes of cache that a chunk's layouts take per pixel
    const ptrdiff_t variants = taps == 1 ? 1 : 2 * g.stride;
    const ptrdiff_t bytes = 2 * kRows * (variants * group + out_blocks);
    const ptrdiff_t most = std::max<ptrdiff_t>(256, 384 * 1024 / bytes);
    const ptrdiff_t image = rows_of_x(g, g.out_h) * pitch / g.stride;
    constexpr ptrdiff_t kMostSums = ptrdiff_t{64} << 20;  // floats; more splits cost more memory than they are worth
    splits =
        static_cast<int>(std::clamp<ptrdiff_t>(kMostSums / (groups * sums()), 1, threads / std::gcd(threads, groups)));
    images = static_cast<int>(std::clamp<ptrdiff_t>(most / image, 1, g.n));
    rows = images > 1 || image <= most ? g.out_h : static_cast<int>(std::clamp<ptrdiff_t>(most / pitch, 1, g.out_h));
    if (rows == g.out_h) {  // chunks of equal size, at least one per split
      const int of_a_split = ceil_div(g.n, splits);
      images = ceil_div(of_a_split, ceil_div(of_a_split, images));
    }
    bands = ceil_div(g.out_h, rows);
    chunks = ceil_div(g.n, images) * bands;
    splits = std::min(splits, chunks);
    x_rows = static_cast<int>(rows_of_x(g, rows));
    plane = x_rows * pitch / g.stride;
    pixels = round_up((images - 1) * plane + (rows - 1) * pitch + g.out_w, kPixels);
    std::vector<int> known(static_cast<size_t>(2 * g.stride), -1);
    ptrdiff_t most_shift = 0;
    for (int a = 0; a < g.kernel_h; ++a) {
      for (int b = 0; b < g.kernel_w; ++b) {
        const ptrdiff_t at = a * pitch + b, remainder = at % g.stride, by = at / g.stride;
        int& index = known[static_cast<size_t>(2 * remainder + by % 2)];
        if (index < 0) {
          index = static_cast<int>(start.size());
          start.push_back(remainder + by % 2 * g.stride);
        }
        variant.push_back(index);
        shift.push_back(by / 2);
        most_shift = std::max(most_shift, by / 2);
      }
    }
    pairs = pixels / 2 + most_shift;
  }

  ptrdiff_t sums() const { return ptrdiff_t{group} * taps * out_blocks * kTileFloats; }
  ptrdiff_t x_pixels(int stride) const { return std::max(stride * (2 * pairs + 2), images * x_rows * pitch); }
  ptrdiff_t x_floats() const { return padded(static_cast<ptrdiff_t>(start.size()) * group * pairs * kRows); }
  ptrdiff_t dy_floats() const { return padded(out_blocks * kRows * pixels / 2); }
  ptrdiff_t part(const DirectConv& g) const {
    constexpr ptrdiff_t kFloats = sizeof(Pixel) / sizeof(float);
    return x_floats() + dy_floats() + padded(kFloats * x_pixels(g.stride)) + padded(kFloats * pixels);
  }
};

// ---- layouts ------------------------------------------------------------------------------------

// Interleaves the channels of two pixels.
__m512i pair(Pixel a, Pixel b, __mmask16 channels) {
  const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(channels, a));
  const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(channels, b));
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

__mmask16 mask_of(int channels) { return static_cast<__mmask16>((1u << std::min(channels, kRows)) - 1); }

// Writes `count` pairs made of every step-th pixel, 16 channels from `first` on.
void lay_pairs(std::uint16_t* to, const Pixel* at, ptrdiff_t step, ptrdiff_t count, int first, int channels) {
  const __mmask16 mask = mask_of(channels);
  for (ptrdiff_t i = 0; i < count; ++i, at += 2 * step, to += kPixels) {
    _mm512_storeu_si512(to, pair(at[0] + first, at[step] + first, mask));
  }
}

// Writes a tile of dy: row by row, one channel of 32 pixels.
void transpose(std::uint16_t* to, const Pixel* at, int first, int channels) {
  const __mmask16 mask = mask_of(channels);
  __m512i v[kRows], t[kRows];
  for (int i = 0; i < kRows; ++i) v[i] = pair(at[2 * i] + first, at[2 * i + 1] + first, mask);
  for (int i = 0; i < kRows; i += 2) {
    t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
  for (int i = 0; i < kRows; i += 4) {
    v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < kRows; i += 8) {
    for (int k = 0; k < 4; ++k) {
      t[i + k] = _mm512_shuffle_i32x4(v[i + k], v[i + k + 4], 0x88);
      t[i + k + 4] = _mm512_shuffle_i32x4(v[i + k], v[i + k + 4], 0xdd);
    }
  }
  for (int k = 0; k < 8; ++k) {
    v[k] = _mm512_shuffle_i32x4(t[k], t[k + 8], 0x88);
    v[k + 8] = _mm512_shuffle_i32x4(t[k], t[k + 8], 0xdd);
  }
  for (int i = 0; i < kRows; ++i) _mm512_storeu_si512(to + i * kPixels, v[i]);
}

// ---- products -----------------------------------------------------------------------------------

struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t bytes_of_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

[[gnu::target("amx-tile")]] void begin_tiles() {
  static constexpr TileShapes kShapes;  // static, so that it is in memory when the instruction reads it
  _tile_loadconfig(&kShapes);
}

// Releases the tiles: while they are in use, every context switch saves and restores them.
[[gnu::target("amx-tile")]] void end_tiles() { _tile_release(); }

// sums[m][n] += dy[m] * x[n] over `steps` tiles, for M blocks of dy's channels and N columns of x. sums[1] is `next`
// floats after sums[0]. Tiles 0 to 3 hold the sums, 4 and 5 dy, 6 and 7 x. The memory barriers are needed because the
// compiler does not know that tile loads and stores access memory.
template <int M, int N>
[[gnu::target("amx-tile,amx-bf16"), gnu::noinline]] void multiply(float* sums, ptrdiff_t next,
                                                                  const std::uint16_t* const (&dy)[2],
                                                                  const std::uint16_t* const (&x)[2], ptrdiff_t steps) {
  constexpr int kRow = 64;
  float* const below = sums + next;
  asm volatile("" ::: "memory");
  _tile_loadd(0, sums, kRow);
  if constexpr (N > 1) _tile_loadd(1, sums + kTileFloats, kRow);
  if constexpr (M > 1) _tile_loadd(2, below, kRow);
  if constexpr (M > 1 && N > 1) _tile_loadd(3, below + kTileFloats, kRow);
  for (ptrdiff_t at = 0; at < steps * kTileHalves; at += kTileHalves) {
    _tile_loadd(4, dy[0] + at, kRow);
    _tile_loadd(6, x[0] + at, kRow);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (N > 1) {
      _tile_loadd(7, x[1] + at, kRow);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (M > 1) {
      _tile_loadd(5, dy[1] + at, kRow);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (N > 1) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, kRow);
  if constexpr (N > 1) _tile_stored(1, sums + kTileFloats, kRow);
  if constexpr (M > 1) _tile_stored(2, below, kRow);
  if constexpr (M > 1 && N > 1) _tile_stored(3, below + kTileFloats, kRow);
  asm volatile("" ::: "memory");
}

// ---- a thread's share ---------------------------------------------------------------------------

class Worker {
 public:
  Worker(const DirectConv& g, const Layout& l, Pixel x, Pixel dy, Pixel zeros, float* scratch)
      : g_(g), l_(l), x_(x), dy_(dy), zeros_(zeros) {
    x_tiles_ = reinterpret_cast<std::uint16_t*>(scratch);
    dy_tiles_ = reinterpret_cast<std::uint16_t*>(scratch += l.x_floats());
    x_at_ = reinterpret_cast<Pixel*>(scratch += l.dy_floats());
    dy_at_ = x_at_ + (l.x_pixels(g.stride) + 7) / 8 * 8;
  }

  // Computes the sums of a group over chunks [begin, end), [out block][in block][tap][16][16].
  void sum(float* sums, int group, int begin, int end) {
    std::fill_n(sums, l_.sums(), 0.0f);
    const int first = group * l_.group, blocks = std::min(l_.group, l_.in_blocks - first);
    for (int chunk = begin; chunk < end; ++chunk) {
      find_pixels(chunk);
      lay_out(first, blocks);
      add_products(sums, blocks);
    }
  }

 private:
  // Finds where each pixel's channels are: in the tensor, or in a row of zeros.
  void find_pixels(int chunk) {
    const int image = chunk / l_.bands * l_.images, row = chunk % l_.bands * l_.rows;
    const int images = std::min(l_.images, g_.n - image), rows = std::min(l_.rows, g_.out_h - row);
    std::fill_n(x_at_, l_.x_pixels(g_.stride), zeros_);
    std::fill_n(dy_at_, l_.pixels, zeros_);
    for (int i = 0; i < images; ++i) {
      Pixel* to = x_at_ + i * l_.x_rows * l_.pitch + g_.padding;
      for (int r = 0; r < l_.x_rows; ++r, to += l_.pitch) {
        const int in = row * g_.stride + r - g_.padding;
        if (in < 0 || in >= g_.h) continue;
        Pixel from = x_ + (ptrdiff_t{image + i} * g_.h + in) * g_.w * g_.c_in;
        for (int c = 0; c < g_.w; ++c) to[c] = from + ptrdiff_t{c} * g_.c_in;
      }
      to = dy_at_ + i * l_.plane;
      Pixel from = dy_ + (ptrdiff_t{image + i} * g_.out_h + row) * g_.out_w * g_.c_out;
      for (int r = 0; r < rows; ++r, to += l_.pitch) {
        for (int c = 0; c < g_.out_w; ++c, from += g_.c_out) to[c] = from;
      }
    }
  }

  // Lays out x and dy, a few pixels at a time with all their channels, which are contiguous.
  void lay_out(int first, int blocks) {
    for (ptrdiff_t at = 0; at < l_.pairs; at += kRows) {
      for (size_t v = 0; v < l_.start.size(); ++v) {
        for (int i = 0; i < blocks; ++i) {
          const int channel = (first + i) * kRows;
          lay_pairs(x_pairs(v, i) + at * kPixels, x_at_ + l_.start[v] + 2 * at * g_.stride, g_.stride,
                    std::min<ptrdiff_t>(kRows, l_.pairs - at), channel, g_.c_in - channel);
        }
      }
    }
    for (ptrdiff_t q = 0; q < l_.pixels; q += kPixels) {
      for (int o = 0; o < l_.out_blocks; ++o) {
        transpose(dy_block(o) + q * kRows, dy_at_ + q, o * kRows, g_.c_out - o * kRows);
      }
    }
  }

  void add_products(float* sums, int blocks) {
    const int columns = blocks * l_.taps;
    const ptrdiff_t next = ptrdiff_t{l_.group} * l_.taps * kTileFloats;
    for (int column = 0; column < columns; column += 2) {
      const bool two_columns = column + 1 < columns;
      const std::uint16_t* const x[2] = {x_column(column), x_column(column + two_columns)};
      for (int o = 0; o < l_.out_blocks; o += 2) {
        float* const to = sums + o * next + ptrdiff_t{column} * kTileFloats;
        const bool two_blocks = o + 1 < l_.out_blocks;
        auto kernel = multiply<1, 1>;
        if (two_blocks) {
          kernel = two_columns ? multiply<2, 2> : multiply<2, 1>;
        } else if (two_columns) {
          kernel = multiply<1, 2>;
        }
        kernel(to, next, {dy_block(o), dy_block(o + two_blocks)}, x, l_.pixels / kPixels);
      }
    }
  }

  std::uint16_t* dy_block(int block) const { return dy_tiles_ + block * l_.pixels * kRows; }

  std::uint16_t* x_pairs(size_t variant, int block) const {
    return x_tiles_ + (static_cast<ptrdiff_t>(variant) * l_.group + block) * l_.pairs * kPixels;
  }

  const std::uint16_t* x_column(int column) const {
    const auto tap = static_cast<size_t>(column % l_.taps);
    return x_pairs(static_cast<size_t>(l_.variant[tap]), column / l_.taps) + l_.shift[tap] * kPixels;
  }

  const DirectConv& g_;
  const Layout& l_;
  Pixel x_, dy_, zeros_;
  std::uint16_t *x_tiles_, *dy_tiles_;
  Pixel *x_at_, *dy_at_;
};

ptrdiff_t zeros_floats(const DirectConv& g) { return padded((std::max(g.c_in, g.c_out) + 1) / 2); }

}  // namespace

std::size_t tile_conv_scratch(const DirectConv& g, ConvPass, int threads) {
  const Layout l(g, threads);
  return static_cast<std::size_t>(zeros_floats(g) + l.splits * l.groups * l.sums() + threads * l.part(g));
}

void tile_conv_backward_weights(float* dw, const std::uint16_t* x, const std::uint16_t* dy, float* scratch,
                                const DirectConv& g, int threads) {
  const Layout l(g, threads);
  auto* zeros = reinterpret_cast<std::uint16_t*>(scratch);
  std::fill_n(zeros, std::max(g.c_in, g.c_out), std::uint16_t{0});
  float* const sums = scratch + zeros_floats(g);
  const ptrdiff_t split_size = l.groups * l.sums();
  float* const parts = sums + l.splits * split_size;
  const int items = l.groups * l.splits;
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int part = 0; part < threads; ++part) {
    Worker worker(g, l, x, dy, zeros, parts + part * l.part(g));
    begin_tiles();
    for (int item = items * part / threads; item < items * (part + 1) / threads; ++item) {
      const int group = item / l.splits, split = item % l.splits;
      worker.sum(sums + split * split_size + group * l.sums(), group, l.chunks * split / l.splits,
                 l.chunks * (split + 1) / l.splits);
    }
    end_tiles();
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int out = 0; out < g.c_out; ++out) {
    for (int tap = 0; tap < l.taps; ++tap) {
      for (int b = 0; b < l.in_blocks; ++b) {
        const ptrdiff_t tile = (ptrdiff_t{out / kRows} * l.group + b % l.group) * l.taps + tap;
        const float* from = sums + b / l.group * l.sums() + tile * kTileFloats + out % kRows * 16;
        __m512 sum = _mm512_loadu_ps(from);
        for (int s = 1; s < l.splits; ++s) sum = _mm512_add_ps(sum, _mm512_loadu_ps(from + s * split_size));
        float* to = dw + (ptrdiff_t{out} * l.taps + tap) * g.c_in + b * kRows;
        _mm512_mask_storeu_ps(to, mask_of(g.c_in - b * kRows), sum);
      }
    }
  }
}

#else

bool tiles_available() { return false; }
std::size_t tile_conv_scratch(const DirectConv&, ConvPass, int) { return 0; }
void tile_conv_backward_weights(float*, const std::uint16_t*, const std::uint16_t*, float*, const DirectConv&, int) {}

#endif

}  // namespace fulcrum::cpu
