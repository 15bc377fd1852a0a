// Settings of the CUDA back-end for the whole process, and the cuDNN plans that it has chosen.
//
//   set_tf32(true);                      // f32 on tensor cores, 10 bits of mantissa
//   set_cudnn_benchmark(true);           // convolutions: time several plans, keep the fastest
//   load_cudnn_plans(text_of_last_run);  // before the first convolution: the same plans again
//   save(cudnn_plans());
//
// cuDNN has tens of plans for a convolution, and their sums differ in the last bits. A resumed run is
// bit for bit the same only if it uses the plans that it started with. Everything here may be called in
// a build without CUDA, where it changes nothing.
#pragma once

#include <string>

namespace fulcrum {

/// Allows f32 convolutions and matrix products to round their inputs to TF32. Off by default.
void set_tf32(bool enabled);
bool tf32();

/// On: times several plans at the first use of a convolution, on scratch memory, and keeps the fastest, also for later
/// processes, in $XDG_CACHE_HOME/fulcrum (default ~/.cache/fulcrum). Off (the default): takes cuDNN's first
/// recommendation. Only plans with reproducible results are considered.
void set_cudnn_benchmark(bool enabled);
bool cudnn_benchmark();

/// Returns the plans that this process has used or loaded, as text.
std::string cudnn_plans();
/// Loads plans from text that cudnn_plans() returned. Plans of another GPU or cuDNN version are kept but not used.
/// Throws Error for any other text.
void load_cudnn_plans(const std::string& text);

}  // namespace fulcrum
