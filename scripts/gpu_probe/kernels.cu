// The probe's own kernels, with which cuDNN's are compared: written to be simple, not to be the fastest.
#include <cuda_bf16.h>

#include "kernels.h"

namespace probe {
namespace {

constexpr int kThreads = 256;

__global__ void nothing() {}

__global__ void copy(float4* to, const float4* from, size_t count) {
  const size_t step = size_t{gridDim.x} * blockDim.x;
  for (size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) to[i] = from[i];
}

// Writes two bf16 per word. Read as an f32, a word is about the second of them, its upper half.
__global__ void random(__nv_bfloat162* to, size_t words, uint32_t seed) {
  const size_t step = size_t{gridDim.x} * blockDim.x;
  for (size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < words; i += step) {
    uint32_t h = static_cast<uint32_t>(i) ^ seed * 0x9e3779b9u;  // MurmurHash3's last steps
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    h ^= h >> 16;
    const auto number = [](uint32_t bits) { return static_cast<float>(bits & 0xffffu) / 32768.0f - 1.0f; };
    to[i] = __floats2bfloat162_rn(number(h), number(h >> 16));
  }
}

// Channels-last arrays [rows, channels] in words of eight bf16. A thread owns a group of channels and
// strides over rows; a block adds its threads up and then adds to the totals.
struct Eight {
  float v[8];
  __device__ explicit Eight(const uint4& word) {
    const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(&word);
    for (int i = 0; i < 4; i++) {
      const float2 f = __bfloat1622float2(pairs[i]);
      v[2 * i] = f.x;
      v[2 * i + 1] = f.y;
    }
  }
};

__device__ uint4 pack(const float (&v)[8]) {
  uint4 word;
  auto* pairs = reinterpret_cast<__nv_bfloat162*>(&word);
  for (int i = 0; i < 4; i++) pairs[i] = __floats2bfloat162_rn(v[2 * i], v[2 * i + 1]);
  return word;
}

/// Calls f(word, channel group, a, b), which adds to the sums a and b of eight channels, for all rows; adds the totals
/// to sums [2, channels].
template <class F>
__device__ void column_sums(float* sums, int rows, int channels, F f) {
  __shared__ float shared[kThreads][16];
  const int groups = channels / 8, lanes = kThreads / groups;  // groups ≤ kThreads
  const int group = static_cast<int>(threadIdx.x) % groups, lane = static_cast<int>(threadIdx.x) / groups;
  float a[8] = {}, b[8] = {};
  if (lane < lanes)
    for (int row = static_cast<int>(blockIdx.x) * lanes + lane; row < rows; row += static_cast<int>(gridDim.x) * lanes)
      f(static_cast<size_t>(row) * static_cast<size_t>(groups) + static_cast<size_t>(group), group, a, b);
  for (int i = 0; i < 8; i++) shared[threadIdx.x][i] = a[i], shared[threadIdx.x][8 + i] = b[i];
  __syncthreads();
  if (lane != 0) return;
  for (int other = 1; other < lanes; other++)
    for (int i = 0; i < 8; i++) {
      a[i] += shared[other * groups + group][i];
      b[i] += shared[other * groups + group][8 + i];
    }
  for (int i = 0; i < 8; i++) {
    atomicAdd(&sums[group * 8 + i], a[i]);
    atomicAdd(&sums[channels + group * 8 + i], b[i]);
  }
}

__global__ void statistics(float* sums, const uint4* x, int rows, int channels) {
  column_sums(sums, rows, channels, [&](size_t word, int, float(&sum)[8], float(&squares)[8]) {
    const Eight value(x[word]);
    for (int i = 0; i < 8; i++) sum[i] += value.v[i], squares[i] += value.v[i] * value.v[i];
  });
}

__global__ void apply(uint4* y, const uint4* x, const uint4* residual, const float* sums, int rows, int channels) {
  const int groups = channels / 8;
  const size_t words = static_cast<size_t>(rows) * static_cast<size_t>(groups), step = size_t{gridDim.x} * blockDim.x;
  const float inv = 1.0f / static_cast<float>(rows);
  for (size_t word = size_t{blockIdx.x} * blockDim.x + threadIdx.x; word < words; word += step) {
    const int group = static_cast<int>(word % static_cast<size_t>(groups));
    const Eight value(x[word]);
    float out[8];
    for (int i = 0; i < 8; i++) {
      const float mean = sums[group * 8 + i] * inv, square = sums[channels + group * 8 + i] * inv;
      out[i] = (value.v[i] - mean) * rsqrtf(square - mean * mean + 1e-5f);
    }
    if (residual) {
      const Eight added(residual[word]);
      for (int i = 0; i < 8; i++) out[i] += added.v[i];
    }
    for (float& o : out) o = fmaxf(o, 0.0f);
    y[word] = pack(out);
  }
}

__global__ void gradient_sums(float* sums, const uint4* dy, const uint4* y, const uint4* x, int rows, int channels) {
  column_sums(sums, rows, channels, [&](size_t word, int, float(&sum)[8], float(&products)[8]) {
    const Eight d(dy[word]), out(y[word]), in(x[word]);
    for (int i = 0; i < 8; i++) {
      const float dz = out.v[i] > 0 ? d.v[i] : 0;
      sum[i] += dz;
      products[i] += dz * in.v[i];
    }
  });
}

__global__ void gradient(uint4* dx, uint4* dresidual, const uint4* dy, const uint4* y, const uint4* x,
                         const float* sums, int rows, int channels) {
  const int groups = channels / 8;
  const size_t words = static_cast<size_t>(rows) * static_cast<size_t>(groups), step = size_t{gridDim.x} * blockDim.x;
  const float inv = 1.0f / static_cast<float>(rows);
  for (size_t word = size_t{blockIdx.x} * blockDim.x + threadIdx.x; word < words; word += step) {
    const int group = static_cast<int>(word % static_cast<size_t>(groups));
    const Eight d(dy[word]), out(y[word]), in(x[word]);
    float dz[8], result[8];
    for (int i = 0; i < 8; i++) {
      dz[i] = out.v[i] > 0 ? d.v[i] : 0;
      result[i] = dz[i] - inv * (sums[group * 8 + i] + in.v[i] * sums[channels + group * 8 + i]);
    }
    dx[word] = pack(result);
    if (dresidual) dresidual[word] = pack(dz);
  }
}

int blocks(int multiprocessors) { return multiprocessors * 4; }

}  // namespace

void launch_nothing(cudaStream_t stream) { nothing<<<1, 32, 0, stream>>>(); }

void launch_random(void* to, size_t words, uint32_t seed, cudaStream_t stream) {
  random<<<1024, kThreads, 0, stream>>>(static_cast<__nv_bfloat162*>(to), words, seed);
}

void launch_copy(void* to, const void* from, size_t bytes, int multiprocessors, cudaStream_t stream) {
  copy<<<static_cast<unsigned>(multiprocessors * 8), kThreads, 0, stream>>>(
      static_cast<float4*>(to), static_cast<const float4*>(from), bytes / sizeof(float4));
}

void launch_statistics(const NormBuffers& b, int rows, int channels, int multiprocessors, cudaStream_t stream) {
  cudaMemsetAsync(b.sums, 0, sizeof(float) * 2 * static_cast<size_t>(channels), stream);
  statistics<<<static_cast<unsigned>(blocks(multiprocessors)), kThreads, 0, stream>>>(
      b.sums, static_cast<const uint4*>(b.x), rows, channels);
}

void launch_norm(const NormBuffers& b, int rows, int channels, int multiprocessors, cudaStream_t stream) {
  launch_statistics(b, rows, channels, multiprocessors, stream);
  apply<<<static_cast<unsigned>(blocks(multiprocessors) * 2), kThreads, 0, stream>>>(
      static_cast<uint4*>(b.y), static_cast<const uint4*>(b.x), static_cast<const uint4*>(b.residual), b.sums, rows,
      channels);
}

void launch_norm_gradient(const NormBuffers& b, int rows, int channels, int multiprocessors, cudaStream_t stream) {
  cudaMemsetAsync(b.sums, 0, sizeof(float) * 2 * static_cast<size_t>(channels), stream);
  gradient_sums<<<static_cast<unsigned>(blocks(multiprocessors)), kThreads, 0, stream>>>(
      b.sums, static_cast<const uint4*>(b.dy), static_cast<const uint4*>(b.y), static_cast<const uint4*>(b.x), rows,
      channels);
  gradient<<<static_cast<unsigned>(blocks(multiprocessors) * 2), kThreads, 0, stream>>>(
      static_cast<uint4*>(b.dx), static_cast<uint4*>(b.dresidual), static_cast<const uint4*>(b.dy),
      static_cast<const uint4*>(b.y), static_cast<const uint4*>(b.x), b.sums, rows, channels);
}

}  // namespace probe
