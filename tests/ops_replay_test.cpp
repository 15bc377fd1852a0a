// Every row of op_cases.h as a step of Replay: forward and backward. Each call has other numbers in the same inputs and
// must have the bits of the row run eagerly on those numbers. On the CPU, Replay runs the step every time.
#include <fulcrum/core/replay.h>

#include "op_cases_nn.h"

namespace fulcrum::testing {
namespace {

class OpsReplayed : public ::testing::TestWithParam<OpCase> {};

// What the pass of a row leaves: its result, and of each input the gradient, or the input itself, which may hold
// statistics that the operation has moved.
Tensors pass(const OpCase& row, Tensors& inputs, const Tensor& seed) {
  for (Tensor& x : inputs)
    if (x.requires_grad()) x.set_grad({});
  const Tensor y = row.op(inputs);
  y.backward(seed);
  Tensors left{y.detach()};
  for (const Tensor& x : inputs) left.push_back(x.requires_grad() ? x.grad() : x);
  return left;
}

// Overwrites what the last call has left with NaN: what this one does not write is seen.
void spoil(const Tensors& left) {
  for (Tensor t : left)
    if (is_floating(t.dtype())) t.copy_from(full(t.shape(), NAN, {t.dtype(), {}}));
}

Tensor seed_for(const OpCase& row, DType dtype, uint64_t draw) {
  const NoGrad no_grad;
  const Tensor y = row.op(leaves_of(row, numbers_of(row), dtype));
  return random_tensor(y.shape(), 300 + draw, -1, 1, y.dtype()).to(y.device());
}

TEST_P(OpsReplayed, HaveTheBitsOfEagerCalls) {
  const OpCase& row = GetParam();
  for (const DType dtype : {DType::kF32, DType::kBf16}) {
    SCOPED_TRACE(name_of(dtype));
    Tensors inputs = leaves_of(row, numbers_of(row), dtype);
    Tensor seed = seed_for(row, dtype, 0);
    Tensors got;
    Replay replay(test_device(), [&] { got = pass(row, inputs, seed); });
    for (uint64_t draw = 1; draw <= 5; draw++) {  // the third call records and replays, two more replay
      SCOPED_TRACE(concat_text("call ", draw));
      spoil(got);
      Tensors others = leaves_of(row, numbers_of(row, draw), dtype);
      const Tensor other_seed = seed_for(row, dtype, draw);
      for (size_t i = 0; i < inputs.size(); i++) inputs[i].detach().copy_from(others[i].detach());
      seed.copy_from(other_seed);
      replay();
      EXPECT_EQ(replay.recorded(), !test_device().is_cpu() && draw >= 3);
      const Tensors expected = pass(row, others, other_seed);
      for (size_t i = 0; i < expected.size(); i++)
        EXPECT_TRUE(same_bits(got[i], expected[i])) << (i == 0 ? "result" : concat_text("input ", i - 1));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Table, OpsReplayed, ::testing::ValuesIn(all_op_cases()),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace fulcrum::testing
