// The last op that this thread launched on a GPU, for error messages.
// A kernel's failure is reported later, when the host has moved on, and the driver names neither the op nor its shapes.
//
//   note_op(x.shape(), x.dtype());          // kernels.h: dispatch() does it
//   last_op_text();                         // "; at the latest in conv2d of f32 [8, 32, 32, 3] …"
#pragma once

#include <source_location>
#include <string>

#include <fulcrum/core/types.h>

namespace fulcrum {

struct LastOp {
  std::source_location where;  // names the op's function, or a lambda in it for the op's gradient
  Shape shape;                 // of the operand that was dispatched on
  DType dtype = DType::kF32;
  enum class What { kNone, kOp, kRecordedStep } what = What::kNone;
};
inline thread_local LastOp last_op;

inline void note_op(const Shape& shape, DType dtype, std::source_location where = std::source_location::current()) {
  last_op = {where, shape, dtype, LastOp::What::kOp};
}
/// Notes that a recorded step (replay.h) was replayed; its ops cannot be told apart.
inline void note_replay() { last_op.what = LastOp::What::kRecordedStep; }

/// Returns a description to append to an error message; empty if nothing has run yet.
std::string last_op_text();

/// Extracts "conv2d" or "conv2d's gradient" from the compiler's name of a function.
std::string op_name(std::string function);

}  // namespace fulcrum
