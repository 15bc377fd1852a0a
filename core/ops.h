// The differentiable operations.
// Names and meanings are PyTorch's, except that images are NHWC, slice(x, dim, begin, end) has no step, and pad takes
// all dimensions in order.
//
//   Tensor y = relu(conv2d(x, w, {}, {.stride = 2, .padding = 1}));
//   Tensor losses = cross_entropy(logits, labels, {.smoothing = 0.1});   // [B], one per sample
//   mean(losses).backward();
//
// All floating inputs of an op have the same dtype, except per-channel and per-class vectors, which are f32 masters
// (f64 with f64 inputs). Every op throws Error, with its name in the message, for wrong shapes, dtypes or devices.
#pragma once

#include <vector>

#include <fulcrum/core/phi.h>
#include <fulcrum/core/random.h>
#include <fulcrum/core/tensor.h>

namespace fulcrum {

class Communicator;

// ---- element-wise ----
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor softplus(const Tensor& x);  ///< log(1 + exp(x))
enum class GeluApproximation { kNone, kTanh };
/// x·Φ(x), or with kTanh ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
Tensor gelu(const Tensor& x, GeluApproximation approximate = GeluApproximation::kNone);
Tensor relu(const Tensor& x);
Tensor neg(const Tensor& x);
Tensor abs(const Tensor& x);
Tensor square(const Tensor& x);
/// The shapes of a and b broadcast as in NumPy.
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
Tensor maximum(const Tensor& a, const Tensor& b);  ///< equal elements share the gradient
Tensor minimum(const Tensor& a, const Tensor& b);
/// Comparisons return 1 or 0, in the dtype of a, or in f32 for integers (of magnitude below 2^53). No gradient.
Tensor eq(const Tensor& a, const Tensor& b);
Tensor ne(const Tensor& a, const Tensor& b);
Tensor gt(const Tensor& a, const Tensor& b);
Tensor ge(const Tensor& a, const Tensor& b);
Tensor lt(const Tensor& a, const Tensor& b);
Tensor le(const Tensor& a, const Tensor& b);
/// a where the condition, of any dtype, is not 0, else b. All three broadcast. Elements that are not selected may be
/// infinite or NaN: they affect neither the result nor the gradient.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
/// With a scalar, which is not rounded to bf16 before the operation.
Tensor add(const Tensor& a, double b);
Tensor sub(const Tensor& a, double b);
Tensor sub(double a, const Tensor& b);
Tensor mul(const Tensor& a, double b);
Tensor div(const Tensor& a, double b);
Tensor div(double a, const Tensor& b);
Tensor maximum(const Tensor& a, double b);
Tensor minimum(const Tensor& a, double b);
Tensor clamp(const Tensor& x, double low, double high);
Tensor pow(const Tensor& x, double exponent);
Tensor pow(double base, const Tensor& exponent);
Tensor pow(const Tensor& x, const Tensor& exponent);
/// Integers are compared with the scalar itself, which is not converted to an integer.
Tensor eq(const Tensor& a, double b);
Tensor ne(const Tensor& a, double b);
Tensor gt(const Tensor& a, double b);
Tensor ge(const Tensor& a, double b);
Tensor lt(const Tensor& a, double b);
Tensor le(const Tensor& a, double b);
Tensor where(const Tensor& condition, const Tensor& a, double b);
Tensor where(const Tensor& condition, double a, const Tensor& b);
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator+(const Tensor& a, double b) { return add(a, b); }
inline Tensor operator+(double a, const Tensor& b) { return add(b, a); }
inline Tensor operator-(const Tensor& a, double b) { return sub(a, b); }
inline Tensor operator-(double a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, double b) { return mul(a, b); }
inline Tensor operator*(double a, const Tensor& b) { return mul(b, a); }
inline Tensor operator/(const Tensor& a, double b) { return div(a, b); }
inline Tensor operator/(double a, const Tensor& b) { return div(a, b); }
inline Tensor operator-(const Tensor& a) { return neg(a); }
/// Returns a converted copy, or x itself if it has that dtype already.
Tensor cast(const Tensor& x, DType dtype);
/// For an x that is a range of rows of a larger tensor, spread over several processes: the number of elements before x,
/// and in the whole tensor. If both are multiples of 4, the masks are those that one process would draw; otherwise they
/// differ, but are equally random. {}: x is the whole tensor.
struct DropoutPart {
  int64_t before = 0, all = 0;
};
/// Zeroes each element with probability p in [0, 1) and scales the others by 1/(1−p). Advances the generator.
Tensor dropout(const Tensor& x, double p, Generator& generator, DropoutPart part = {});

// ---- shape ----
Tensor reshape(const Tensor& x, Shape shape);                        ///< a view; one size may be −1
Tensor slice(const Tensor& x, int dim, int64_t begin, int64_t end);  ///< a view for dim 0
Tensor concat(const std::vector<Tensor>& parts, int dim);
Tensor stack(const std::vector<Tensor>& parts, int dim = 0);    ///< in a new dimension
Tensor transpose(const Tensor& x, int dim0, int dim1);          ///< a copy
Tensor permute(const Tensor& x, const std::vector<int>& dims);  ///< a copy whose dimension i is dims[i] of x
/// Surrounds x with zeros: before[i] and after[i] of them in dimension i.
Tensor pad(const Tensor& x, const std::vector<int64_t>& before, const std::vector<int64_t>& after);

// ---- by indices, i64; on a GPU an index out of range reads as NaN (−1 for integers) and writes nothing ----
/// y[…, k, …] = x[…, index[…, k, …], …]: one index per element; index has x's shape except in `dim`.
Tensor gather(const Tensor& x, int dim, const Tensor& index);
/// y[…, k, …] = x[…, index[k], …]: one index per slice.
Tensor index_select(const Tensor& x, int dim, const Tensor& index);
/// x[…, index[k], …] = source[…, k, …], in place, without a gradient. Where an index repeats, the last slice wins.
void index_copy_(Tensor& x, int dim, const Tensor& index, const Tensor& source);
/// Labels [...] → 1 at the label, else 0, f32 [..., classes].
Tensor one_hot(const Tensor& labels, int64_t classes);

// ---- order; NaN counts as the largest, equal elements keep their order ----
struct Sorted {
  Tensor values, indices;  ///< of equal shape; indices i64: the positions along `dim` of the values in x
};
Sorted sort(const Tensor& x, int dim = -1, bool descending = false);
/// The k largest elements in descending order, or the k smallest in ascending order.
Sorted topk(const Tensor& x, int64_t k, int dim = -1, bool largest = true);
Tensor argsort(const Tensor& x, int dim = -1, bool descending = false);  ///< only the indices of sort

// ---- reductions; without `dims` over all dimensions, to shape [] ----
Tensor sum(const Tensor& x);
Tensor sum(const Tensor& x, const std::vector<int>& dims, bool keepdim = false);
Tensor mean(const Tensor& x);
Tensor mean(const Tensor& x, const std::vector<int>& dims, bool keepdim = false);
Tensor amax(const Tensor& x, const std::vector<int>& dims, bool keepdim = false);
Tensor amin(const Tensor& x, const std::vector<int>& dims, bool keepdim = false);
/// Σ (x − mean)² / (n − correction) over the n elements reduced; correction < n.
Tensor var(const Tensor& x, const std::vector<int>& dims, double correction = 1, bool keepdim = false);
Tensor logsumexp(const Tensor& x, const std::vector<int>& dims, bool keepdim = false);
Tensor argmax(const Tensor& x);  ///< over the last dimension; i64, no gradient
Tensor softmax(const Tensor& x, int dim = -1);
Tensor log_softmax(const Tensor& x, int dim = -1);

// ---- linear ----
/// [..., m, k] × [k, n] or [..., k, n] → [..., m, n]; leading sizes do not broadcast.
Tensor matmul(const Tensor& a, const Tensor& b);
/// x [..., in], weight [out, in], bias [out] or undefined → [..., out], optionally with a fused ReLU.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, bool relu = false);

// ---- convolution and pooling ----
/// A pair (height, width); converts implicitly from one number for both.
struct Size2 {
  int64_t h, w;
  Size2(int64_t both) : h(both), w(both) {}  // NOLINT: implicit on purpose
  Size2(int64_t height, int64_t width) : h(height), w(width) {}
};
struct ConvOptions {
  Size2 stride = 1;
  Size2 padding = 0;
  Size2 dilation = 1;
  int64_t groups = 1;
};
/// x [N, H, W, C], weight [out, kh, kw, C / groups], bias [out] or undefined → [N, H', W', out].
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, const ConvOptions& options = {});

struct PoolOptions {
  Size2 kernel;
  Size2 stride;  // required; PyTorch defaults to the kernel size
  Size2 padding = 0;
  bool count_include_pad = true;  // for avg_pool2d
};
Tensor max_pool2d(const Tensor& x, const PoolOptions& options);
Tensor avg_pool2d(const Tensor& x, const PoolOptions& options);
/// [N, H, W, C] → [N, C], the mean over each image.
Tensor global_avg_pool2d(const Tensor& x);

// ---- normalisation ----
struct BatchNormTensors {
  Tensor weight = {}, bias = {};               // [C], f32 masters
  Tensor running_mean = {}, running_var = {};  // [C], f32; updated in training
};
/// For a batch that is spread over processes, which then use its joint statistics.
struct BatchNormPart {
  Communicator* communicator = nullptr;
  int64_t rows = 0;    // values per channel in all processes
  bool counts = true;  // false: this process has no samples; x is a placeholder, whose gradient is 0
};
struct BatchNormArgs {
  bool training = true;
  double momentum = 0.1;
  double eps = 1e-5;
  Tensor residual = {};  // added before the ReLU; same shape as x; optional
  bool relu = false;     // fused
  BatchNormPart part = {};
};
/// Normalises x [..., C] over all dimensions but the last.
Tensor batch_norm(const Tensor& x, const BatchNormTensors& t, const BatchNormArgs& args = {});
/// Normalises x [..., C] over the last dimension (Ba et al. 2016). weight and bias: f32 masters [C], or undefined.
Tensor layer_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {}, double eps = 1e-5);
/// Normalises x [N, ..., C] over all but the first dimension, within groups of C / groups channels (Wu & He 2018).
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);

// ---- losses, one per sample; labels i64 [B] ----
/// Options of the cross entropy on z' = scale·(z/temperature − margin_y·e_y) + adjust.
struct CrossEntropyArgs {
  Tensor adjust = {};  // [C], added to the logits (logit adjustment, balanced softmax)
  Tensor margin = {};  // [C], subtracted from the logit of the label (LDAM)
  double scale = 1;
  double smoothing = 0;      // label smoothing ε
  Tensor class_weight = {};  // [C]; multiplies the loss of its class, as PyTorch's `weight`
  Tensor temperature = {};   // [C], > 0; divides the logits
  Phi phi = {};              // φ(l) instead of l; not with smoothing
};
/// φ(−log softmax(z')_y) per sample, f32 [B] (f64 for f64 logits [B, C]). Labels may also be shares of the classes q, floating
/// [B, C], as in PyTorch: −Σ_c w_c·q_c·log softmax(z')_c, without margin and φ, with smoothing of q towards 1/C.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels, const CrossEntropyArgs& args = {});
/// LDR-KL (Zhu et al. 2023): λ·log mean_k exp((c·[k≠y] + h_k − h_y)/λ) with h = softplus(z)/mean
/// softplus(z); f32 [B]. The loss is at least −λ·log C.
struct LdrKlArgs {
  double margin = 2;         // c
  double lambda = 1;         // > 0
  Tensor class_weight = {};  // [C]
};
Tensor ldr_kl_loss(const Tensor& logits, const Tensor& labels, const LdrKlArgs& args = {});
/// ALDR-KL (Zhu et al. 2023): LDR-KL with a λ per sample, minus (α log C/(2 λ0))·(λ − λ0)².
///
///   Tensor table = full({samples}, args.lambda0);                          // initial λ of every sample
///   losses = aldr_kl_loss(logits, labels, adapt_lambdas(table, logits, indices, args), args);
struct AldrKlArgs {
  double margin = 2;         // c
  double lambda0 = 1;        // > 0, the largest λ
  double alpha = 2;          // > 1; λ is never below λ0·(1 − 1/α)
  Tensor class_weight = {};  // [C]
};
/// Returns f32 [B] (f64 for f64 logits). lambdas: f32 (f64) [B]; no gradient flows into them.
Tensor aldr_kl_loss(const Tensor& logits, const Tensor& labels, const Tensor& lambdas, const AldrKlArgs& args = {});
/// Returns the new λ = λ0·(1 − KL/(α log C)) of each sample, f32 [B] (f64 for f64 logits), and stores it in the table.
/// KL is the divergence of softmax(h/λ) from the uniform distribution, with the old λ from table f32 [N] at the indices
/// i64 [B]: the surer the network, the smaller the new λ.
Tensor adapt_lambdas(Tensor& table, const Tensor& logits, const Tensor& indices, const AldrKlArgs& args = {});
/// Mean over all but the first dimension of (x − target)²; f32 [B].
Tensor mse_loss(const Tensor& x, const Tensor& target);
/// Mean over all but the first dimension of the logistic loss with targets in [0, 1]; f32 [B].
Tensor binary_cross_entropy_with_logits(const Tensor& logits, const Tensor& target);

}  // namespace fulcrum
