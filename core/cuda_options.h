// How the CUDA back-end computes: settings of the process, and the plans that it chose.
//
//   set_tf32(true);                      // f32 on tensor cores, 10 bits of mantissa
//   set_cudnn_benchmark(true);           // convolutions: time several plans, keep the fastest
//   load_cudnn_plans(text_of_last_run);  // before the first convolution: the same plans again
//   save(cudnn_plans());
//
// cuDNN has tens of plans for a convolution, and their sums differ in the last bits. A run that goes
// on with the plans that it started with goes on bit for bit. Everything here may be called in a
// build without CUDA, where it changes nothing.
#pragma once

#include <string>

namespace fulcrum {

/// Whether f32 convolutions and matrix products may round their inputs to TF32. Off at the start.
void set_tf32(bool enabled);
bool tf32();

/// Whether the plan of a convolution is the fastest of several, timed on scratch memory at its first
/// use and remembered in $XDG_CACHE_HOME/fulcrum (default ~/.cache/fulcrum), or cuDNN's first
/// recommendation. Only plans with reproducible results are considered. Off at the start.
void set_cudnn_benchmark(bool enabled);
bool cudnn_benchmark();

/// The plans that this process has used or loaded, as text.
std::string cudnn_plans();
/// Takes plans from text of cudnn_plans(); those of another GPU or cuDNN are kept and not used. An
/// Error for any other text.
void load_cudnn_plans(const std::string& text);

}  // namespace fulcrum
