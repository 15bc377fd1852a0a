#include <fulcrum/core/cpu/conv_reference.h>

#include <algorithm>
#include <vector>

#include <Eigen/Core>

namespace fulcrum::cpu {
namespace {

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
// A matrix in existing memory, whose rows are an outer stride apart.
template <class T>
using Rows = Eigen::Map<Matrix<T>, 0, Eigen::OuterStride<>>;
template <class T>
using ConstRows = Eigen::Map<const Matrix<T>, 0, Eigen::OuterStride<>>;

/// One image and group of a convolution as matrices:
///   columns [out_h·out_w, kh·kw·in]   the inputs of each output pixel, zero outside the image
///   weights [out, kh·kw·in]           the group's filters, in place
///   pixels  [out_h·out_w, out]        the group's channels of y, in place
struct GroupedConv {
  const Conv2dGeometry& g;
  int64_t in = g.c / g.groups, out = g.out_c / g.groups;
  int64_t positions = g.out_h * g.out_w, filter = g.kernel_h * g.kernel_w * in;

  template <class T>
  ConstRows<T> weights(const T* w, int64_t group) const {
    return {w + group * out * filter, out, filter, Eigen::OuterStride<>(filter)};
  }
  template <class T>
  Rows<T> weights(T* w, int64_t group) const {
    return {w + group * out * filter, out, filter, Eigen::OuterStride<>(filter)};
  }
  template <class T>
  ConstRows<T> pixels(const T* y, int64_t image, int64_t group) const {
    return {y + image * positions * g.out_c + group * out, positions, out, Eigen::OuterStride<>(g.out_c)};
  }
  template <class T>
  Rows<T> pixels(T* y, int64_t image, int64_t group) const {
    return {y + image * positions * g.out_c + group * out, positions, out, Eigen::OuterStride<>(g.out_c)};
  }

  /// Calls visit(offset in x or −1 outside the image, offset in columns) for each run of `in`
  /// channels.
  template <class Visit>
  void for_each_run(int64_t image, int64_t group, Visit visit) const {
    int64_t column = 0;
    for (int64_t oh = 0; oh < g.out_h; oh++)
      for (int64_t ow = 0; ow < g.out_w; ow++)
        for (int64_t kh = 0; kh < g.kernel_h; kh++)
          for (int64_t kw = 0; kw < g.kernel_w; kw++, column += in) {
            const int64_t h = oh * g.stride_h - g.padding_h + kh * g.dilation_h;
            const int64_t w = ow * g.stride_w - g.padding_w + kw * g.dilation_w;
            const bool inside = h >= 0 && h < g.h && w >= 0 && w < g.w;
            visit(inside ? ((image * g.h + h) * g.w + w) * g.c + group * in : -1, column);
          }
  }

  template <class T>
  void gather(Matrix<T>& columns, const T* x, int64_t image, int64_t group) const {
    columns.resize(positions, filter);
    for_each_run(image, group, [&](int64_t from, int64_t to) {
      if (from < 0) {
        std::fill_n(columns.data() + to, in, T(0));
      } else {
        std::copy_n(x + from, in, columns.data() + to);
      }
    });
  }

  template <class T>
  void scatter_add(T* x, const Matrix<T>& columns, int64_t image, int64_t group) const {
    for_each_run(image, group, [&](int64_t to, int64_t from) {
      if (to < 0) return;
      for (int64_t i = 0; i < in; i++) x[to + i] += columns.data()[from + i];
    });
  }
};

template <class T>
void forward(T* y, const T* x, const T* w, const T* bias, const Conv2dGeometry& g) {
  const GroupedConv conv{g};
#pragma omp parallel for schedule(static)
  for (int64_t image = 0; image < g.n; image++) {
    Matrix<T> columns;
    for (int64_t group = 0; group < g.groups; group++) {
      conv.gather(columns, x, image, group);
      Rows<T> pixels = conv.pixels(y, image, group);
      pixels.noalias() = columns * conv.weights(w, group).transpose();
      if (!bias) continue;
      pixels.rowwise() += Eigen::Map<const Eigen::RowVectorX<T>>(bias + group * conv.out, conv.out);
    }
  }
}

template <class T>
void data_gradient(T* dx, const T* dy, const T* w, const Conv2dGeometry& g) {
  const GroupedConv conv{g};
  const int64_t image_size = g.h * g.w * g.c;
#pragma omp parallel for schedule(static)
  for (int64_t image = 0; image < g.n; image++) {
    std::fill_n(dx + image * image_size, image_size, T(0));
    Matrix<T> columns;
    for (int64_t group = 0; group < g.groups; group++) {
      columns.noalias() = conv.pixels(dy, image, group) * conv.weights(w, group);
      conv.scatter_add(dx, columns, image, group);
    }
  }
}

// Image by image, so that the order of the sum is the same for any number of threads.
template <class T>
void weight_gradient(T* dw, const T* dy, const T* x, const Conv2dGeometry& g) {
  const GroupedConv conv{g};
  std::fill_n(dw, g.out_c * conv.filter, T(0));
#pragma omp parallel for schedule(static)
  for (int64_t group = 0; group < g.groups; group++) {
    Matrix<T> columns;
    for (int64_t image = 0; image < g.n; image++) {
      conv.gather(columns, x, image, group);
      conv.weights(dw, group).noalias() += conv.pixels(dy, image, group).transpose() * columns;
    }
  }
}

/// Calls f.operator()<T>() for f32 and f64.
template <class F>
void visit(const char* op, DType dtype, F f) {
  check(dtype == DType::kF32 || dtype == DType::kF64, "[", op, "] expected f32 or f64, got ", dtype);
  if (dtype == DType::kF32) {
    f.template operator()<float>();
  } else {
    f.template operator()<double>();
  }
}

}  // namespace

void reference_conv2d(Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dGeometry& g) {
  visit("conv2d", x.dtype(),
        [&]<class T>() { forward(y.data<T>(), x.data<T>(), w.data<T>(), bias ? bias.data<T>() : nullptr, g); });
}

void reference_conv2d_data_gradient(Tensor& dx, const Tensor& dy, const Tensor& w, const Conv2dGeometry& g) {
  visit("conv2d_data_gradient", dy.dtype(),
        [&]<class T>() { data_gradient(dx.data<T>(), dy.data<T>(), w.data<T>(), g); });
}

void reference_conv2d_weight_gradient(Tensor& dw, const Tensor& dy, const Tensor& x, const Conv2dGeometry& g) {
  visit("conv2d_weight_gradient", x.dtype(),
        [&]<class T>() { weight_gradient(dw.data<T>(), dy.data<T>(), x.data<T>(), g); });
}

}  // namespace fulcrum::cpu
