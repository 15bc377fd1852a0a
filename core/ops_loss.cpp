// Losses, one value per sample, so that a risk can weigh them.
#include <cmath>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/ops_checks.h>

namespace fulcrum {

namespace {
void check_per_class(const Tensor& t, const Tensor& logits, const char* what) {
  const DType wanted = master_dtype(logits.dtype());
  check(!t || (t.shape() == Shape{logits.size(1)} && t.dtype() == wanted), "[cross_entropy] expected ", what, " ",
        wanted, " [", logits.size(1), "], got ", t ? t.dtype() : wanted, " ", t ? t.shape() : Shape());
}

void check_phi(const Phi& phi) {
  const double a = phi.a, b = phi.b;
  switch (phi.kind) {
    case Phi::kFocal:
      return check(a >= 0 && std::isfinite(a), "[cross_entropy] expected gamma >= 0 of the focal loss, got ", a);
    case Phi::kTruncatedGce:
      check(b > 0 && b < 1, "[cross_entropy] expected k in (0, 1) of the truncated GCE, got ", b);
      [[fallthrough]];
    case Phi::kGce: return check(a > 0 && a <= 1, "[cross_entropy] expected q in (0, 1] of the GCE, got ", a);
    case Phi::kSce:
      return check(a >= 0 && b >= 0 && std::isfinite(a) && std::isfinite(b),
                   "[cross_entropy] expected a and b >= 0 of the SCE, got ", a, " and ", b);
    case Phi::kJs: return check(a > 0 && a < 1, "[cross_entropy] expected pi in (0, 1) of the JS loss, got ", a);
    case Phi::kIdentity:
    case Phi::kMae: return;
  }
}

std::vector<int> feature_dims(const Tensor& x) {
  std::vector<int> dims;
  for (int i = 1; i < x.dim(); i++) dims.push_back(i);
  return dims;
}

void check_targets(const char* op, const Tensor& x, const Tensor& target) {
  check(x.dim() >= 1 && x.shape() == target.shape(), "[", op, "] expected x and target of one shape, got ", x.shape(),
        " and ", target.shape());
  check_one_device(op, {{"x", x}, {"target", target}});
}

// On the CPU only, like the labels: a loss with a negative weight would be maximised.
void check_class_weight(const Tensor& weight) {
  if (!weight || !weight.device().is_cpu()) return;
  visit_floating(weight.dtype(), "cross_entropy", [&]<class T>() {
    const T* w = weight.data<T>();
    for (int64_t i = 0; i < weight.numel(); i++)
      check(w[i] >= 0 && std::isfinite(w[i]), "[cross_entropy] expected finite class weights of at least 0, got ", w[i],
            " for class ", i);
  });
}

// Checks labels on the CPU only. Reading labels on a GPU would stall its stream; there, the loss of an invalid label is
// NaN, and the optimiser's flag ends the run.
void check_labels(const Tensor& labels, int64_t classes) {
  if (!labels.device().is_cpu()) return;
  const int64_t* y = labels.data<int64_t>();
  for (int64_t i = 0; i < labels.numel(); i++)
    check(y[i] >= 0 && y[i] < classes, "[cross_entropy] expected labels in [0, ", classes, "), got ", y[i], " at row ",
          i);
}

// The targets are shares of the classes: made of other ops, as no training step of the program hangs on it.
Tensor cross_entropy_of_shares(const Tensor& logits, const Tensor& shares, const CrossEntropyArgs& args) {
  check(!args.margin && args.phi.kind == Phi::kIdentity,
        "[cross_entropy] expected no margin and no phi with shares of the classes as labels: both ask for one label");
  const DType dtype = master_dtype(logits.dtype());
  Tensor z = logits.to(dtype), q = shares.to(dtype);
  if (args.temperature) z = div(z, args.temperature);
  if (args.scale != 1) z = mul(z, args.scale);
  if (args.adjust) z = add(z, args.adjust);
  if (args.smoothing > 0) q = add(mul(q, 1 - args.smoothing), args.smoothing / static_cast<double>(logits.size(1)));
  if (args.class_weight) q = mul(q, args.class_weight);
  return neg(sum(mul(q, log_softmax(z)), {1}));
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& labels, const CrossEntropyArgs& args) {
  check(logits.dim() == 2 && is_floating(logits.dtype()), "[cross_entropy] expected floating logits [B, C], got ",
        logits.dtype(), " ", logits.shape());
  const bool shares = is_floating(labels.dtype()) && labels.shape() == logits.shape();
  check(shares || (labels.dtype() == DType::kI64 && labels.shape() == Shape{logits.size(0)}),
        "[cross_entropy] expected labels i64 [", logits.size(0), "] or shares of the classes ", logits.shape(),
        ", got ", labels.dtype(), " ", labels.shape());
  check_one_device("cross_entropy", {{"logits", logits},
                                     {"labels", labels},
                                     {"adjust", args.adjust},
                                     {"margin", args.margin},
                                     {"class_weight", args.class_weight},
                                     {"temperature", args.temperature}});
  check(args.smoothing >= 0 && args.smoothing < 1, "[cross_entropy] expected smoothing in [0, 1), got ",
        args.smoothing);
  check_phi(args.phi);
  check(args.smoothing == 0 || args.phi.kind == Phi::kIdentity, "[cross_entropy] expected smoothing 0 with a phi, got ",
        args.smoothing);
  for (const Tensor* t : {&args.adjust, &args.margin, &args.class_weight, &args.temperature})
    check(!*t || !t->requires_grad(),
          "[cross_entropy] expected adjust, margin, class_weight and temperature without a "
          "gradient, which they do not get; detach() them");
  const CrossEntropyTensors t{args.adjust, args.margin, args.class_weight, args.temperature};
  check_per_class(t.adjust, logits, "adjust");
  check_per_class(t.margin, logits, "margin");
  check_per_class(t.class_weight, logits, "class_weight");
  check_per_class(t.temperature, logits, "temperature");
  check_class_weight(t.class_weight);
  if (shares) return cross_entropy_of_shares(logits, labels, args);
  check_labels(labels, logits.size(1));
  const CrossEntropyOptions o{args.scale, args.smoothing, args.phi};

  const DType dtype = master_dtype(logits.dtype());
  Tensor losses = empty({logits.size(0)}, {dtype, logits.device()});
  dispatch(logits, [&]<class K>() { K::cross_entropy(losses, logits, labels, t, o); });
  return record("cross_entropy", losses, {logits},
                [logits = Saved(logits), labels = Saved(labels), adjust = Saved(t.adjust), margin = Saved(t.margin),
                 class_weight = Saved(t.class_weight), temperature = Saved(t.temperature),
                 o](const Tensor& dlosses, Needs) -> Grads {
                  Tensor dlogits = empty_like(logits);
                  const CrossEntropyTensors t{adjust, margin, class_weight, temperature};
                  dispatch(dlogits,
                           [&]<class K>() { K::cross_entropy_gradient(dlogits, dlosses, logits, labels, t, o); });
                  return {dlogits};
                });
}

namespace {

// softplus(z)/mean_k softplus(z)
Tensor positive_shares(const char* op, const Tensor& logits) {
  check(logits.dim() == 2 && is_floating(logits.dtype()), "[", op, "] expected floating logits [B, C], got ",
        logits.dtype(), " ", logits.shape());
  const Tensor positive = softplus(logits.to(master_dtype(logits.dtype())));
  return div(positive, mean(positive, {1}, /*keepdim=*/true));
}

// w_y·log C, without a gradient.
Tensor loss_of_equal_logits(const Tensor& like, const Tensor& labels, const Tensor& class_weight) {
  return cross_entropy(zeros_like(like.detach()), labels, {.class_weight = class_weight});
}

void check_aldr(const char* op, const AldrKlArgs& args, const Tensor& logits) {
  check(args.lambda0 > 0 && std::isfinite(args.lambda0), "[", op, "] expected lambda0 > 0, got ", args.lambda0);
  check(args.alpha > 1 && std::isfinite(args.alpha), "[", op, "] expected alpha > 1, got ", args.alpha);
  check(args.margin >= 0 && std::isfinite(args.margin), "[", op, "] expected margin >= 0, got ", args.margin);
  check(logits.dim() == 2 && logits.size(1) > 1, "[", op, "] expected logits [B, C] of two classes or more, got ",
        logits.shape());
}
}  // namespace

// log mean_k exp((c·[k≠y] + h_k − h_y)/λ) is the cross entropy of h/λ with margin c on the label, minus
// log C. log C is computed as the cross entropy of equal logits, which applies the class weight to it as well.
Tensor ldr_kl_loss(const Tensor& logits, const Tensor& labels, const LdrKlArgs& args) {
  check(args.lambda > 0 && std::isfinite(args.lambda), "[ldr_kl_loss] expected lambda > 0, got ", args.lambda);
  check(args.margin >= 0 && std::isfinite(args.margin), "[ldr_kl_loss] expected margin >= 0, got ", args.margin);
  check_one_device("ldr_kl_loss", {{"logits", logits}, {"labels", labels}, {"class_weight", args.class_weight}});
  const Tensor h = positive_shares("ldr_kl_loss", logits);
  CrossEntropyArgs ce;
  ce.margin = full({logits.size(1)}, args.margin, {h.dtype(), h.device()});
  ce.scale = 1 / args.lambda;
  ce.class_weight = args.class_weight;
  return mul(sub(cross_entropy(h, labels, ce), loss_of_equal_logits(h, labels, args.class_weight)), args.lambda);
}

// The same with a λ per row. The margin is added to h as c times the gradient of the cross entropy of equal logits. It
// is 1/C − [k=y], larger by 1 for k ≠ y than for k = y; a constant added to all logits does not matter.
Tensor aldr_kl_loss(const Tensor& logits, const Tensor& labels, const Tensor& lambdas, const AldrKlArgs& args) {
  check_aldr("aldr_kl_loss", args, logits);
  const Tensor h = positive_shares("aldr_kl_loss", logits);
  const int64_t batch = h.size(0);
  check(lambdas.shape() == Shape{batch} && lambdas.dtype() == h.dtype(), "[aldr_kl_loss] expected lambdas ", h.dtype(),
        " [", batch, "], got ", lambdas.dtype(), " ", lambdas.shape());
  check_one_device("aldr_kl_loss",
                   {{"logits", logits}, {"labels", labels}, {"lambdas", lambdas}, {"class_weight", args.class_weight}});
  const Tensor equal = loss_of_equal_logits(h, labels, args.class_weight), lambda = lambdas.detach();
  Tensor margin = empty_like(h);
  dispatch(h, [&]<class K>() {
    K::cross_entropy_gradient(margin, full({batch}, args.margin, options_of(lambda)), zeros_like(h.detach()), labels,
                              {}, {});
  });
  const Tensor ce =
      cross_entropy(div(add(h, margin), lambda.reshape({batch, 1})), labels, {.class_weight = args.class_weight});
  const Tensor regular = mul(mul(square(add(lambda, -args.lambda0)), equal), args.alpha / (2 * args.lambda0));
  return sub(mul(sub(ce, equal), lambda), regular);
}

Tensor adapt_lambdas(Tensor& table, const Tensor& logits, const Tensor& indices, const AldrKlArgs& args) {
  check_aldr("adapt_lambdas", args, logits);
  check(table.dim() == 1 && table.dtype() == DType::kF32, "[adapt_lambdas] expected a table f32 [N], got ",
        table.dtype(), " ", table.shape());
  check(indices.dtype() == DType::kI64 && indices.shape() == Shape{logits.size(0)},
        "[adapt_lambdas] expected indices i64 [", logits.size(0), "], got ", indices.dtype(), " ", indices.shape());
  check_one_device("adapt_lambdas", {{"logits", logits}, {"table", table}, {"indices", indices}});
  check_indices("adapt_lambdas", indices, table.numel());
  const Tensor h = positive_shares("adapt_lambdas", logits.detach());
  Tensor lambda = empty({logits.size(0)}, options_of(h));
  dispatch(h, [&]<class K>() { K::adapt_lambdas(lambda, table, h, indices, args.lambda0, args.alpha); });
  return lambda;
}

Tensor mse_loss(const Tensor& x, const Tensor& target) {
  check_targets("mse_loss", x, target);
  const DType dtype = master_dtype(x.dtype());
  return mean(square(sub(x.to(dtype), target.to(dtype))), feature_dims(x));
}

// −t·log σ(z) − (1−t)·log(1−σ(z)) = softplus(z) − t·z, which never overflows.
Tensor binary_cross_entropy_with_logits(const Tensor& logits, const Tensor& target) {
  check_targets("binary_cross_entropy_with_logits", logits, target);
  const DType dtype = master_dtype(logits.dtype());
  const Tensor z = logits.to(dtype);
  return mean(sub(softplus(z), mul(z, target.to(dtype))), feature_dims(logits));
}

}  // namespace fulcrum
