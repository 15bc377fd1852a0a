// Which pixels a pooling window covers, and which windows cover a pixel; shared by the CPU and CUDA kernels.
#pragma once

#include <fulcrum/core/kernel_types.h>
#include <fulcrum/core/loops.h>

namespace fulcrum {

struct Windows {
  struct Part {
    int64_t begin, end;
  };
  const Pool2dGeometry& g;

  FULCRUM_HD explicit Windows(const Pool2dGeometry& geometry) : g(geometry) {}

  /// The rows (columns) of the image that a window covers.
  FULCRUM_HD Part rows(int64_t oh) const { return inside(oh, g.kernel_h, g.stride_h, g.padding_h, g.h); }
  FULCRUM_HD Part cols(int64_t ow) const { return inside(ow, g.kernel_w, g.stride_w, g.padding_w, g.w); }
  /// The windows that cover a pixel, by its row (column).
  FULCRUM_HD Part over_row(int64_t ih) const { return covering(ih, g.kernel_h, g.stride_h, g.padding_h, g.out_h); }
  FULCRUM_HD Part over_col(int64_t iw) const { return covering(iw, g.kernel_w, g.stride_w, g.padding_w, g.out_w); }

  template <class A>
  FULCRUM_HD A mean_factor(int64_t oh, int64_t ow) const {
    const Part r = rows(oh), c = cols(ow);
    const int64_t valid = (r.end - r.begin) * (c.end - c.begin);
    return A(1) / static_cast<A>(g.count_include_pad ? g.kernel_h * g.kernel_w : valid);
  }

 private:
  FULCRUM_HD static Part inside(int64_t o, int64_t kernel, int64_t stride, int64_t padding, int64_t size) {
    const int64_t start = o * stride - padding, end = start + kernel;
    return {start > 0 ? start : 0, end < size ? end : size};
  }
  FULCRUM_HD static Part covering(int64_t i, int64_t kernel, int64_t stride, int64_t padding, int64_t count) {
    const int64_t past_first = i + padding - kernel + 1, end = divide(i + padding, stride).quotient + 1;
    return {past_first <= 0 ? 0 : divide(past_first + stride - 1, stride).quotient, end < count ? end : count};
  }
};

}  // namespace fulcrum
