// What this thread asked a GPU for last. A kernel fails when the host has gone on, and the driver names neither the
// op nor its shapes: the message of such an error ends with this.
//
//   note_op(x.shape(), x.dtype());          // kernels.h: dispatch() does it
//   last_op_text();                         // "; at the latest in conv2d of f32 [8, 32, 32, 3] …"
#pragma once

#include <source_location>
#include <string>

#include <fulcrum/core/types.h>

namespace fulcrum {

struct LastOp {
  std::source_location where;  // its function is the op, a lambda in it the op's gradient
  Shape shape;                 // of its first operand
  DType dtype = DType::kF32;
  enum class What { kNone, kOp, kRecordedStep } what = What::kNone;
};
inline thread_local LastOp last_op;

inline void note_op(const Shape& shape, DType dtype, std::source_location where = std::source_location::current()) {
  last_op = {where, shape, dtype, LastOp::What::kOp};
}
/// Of a recorded step (replay.h) nothing tells its ops apart.
inline void note_replay() { last_op.what = LastOp::What::kRecordedStep; }

/// For the end of a message; empty where nothing has run yet.
std::string last_op_text();

/// "conv2d" or "conv2d's gradient" from the name that a compiler gives a function.
std::string op_name(std::string function);

}  // namespace fulcrum
