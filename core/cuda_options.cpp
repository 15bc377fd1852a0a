#include <fulcrum/core/cuda_options.h>

#include <atomic>

#include <fulcrum/core/plan_store.h>

namespace fulcrum {

namespace {
std::atomic<bool> tf32_enabled = false;
std::atomic<bool> benchmark_enabled = false;
}  // namespace

void set_tf32(bool enabled) { tf32_enabled = enabled; }
bool tf32() { return tf32_enabled; }

void set_cudnn_benchmark(bool enabled) { benchmark_enabled = enabled; }
bool cudnn_benchmark() { return benchmark_enabled; }

std::string cudnn_plans() { return cuda::run_plans().text(); }

void load_cudnn_plans(const std::string& text) { cuda::run_plans().load(text); }

}  // namespace fulcrum
