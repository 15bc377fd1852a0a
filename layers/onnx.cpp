#include <fulcrum/layers/onnx.h>

#include <limits>
#include <map>
#include <set>
#include <utility>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/layers/onnx_file.h>

namespace fulcrum {

namespace {

using Op = OpObserver::Op;
using Ints = std::vector<int64_t>;

constexpr int64_t kOpset = 17;
// The largest message that protobuf allows.
constexpr size_t kMostBytes = std::numeric_limits<int32_t>::max();

// Ops whose ONNX counterpart has the same inputs and needs no attributes.
constexpr std::pair<std::string_view, const char*> kPlainOps[] = {
    {"add", "Add"},     {"sub", "Sub"},   {"mul", "Mul"},   {"div", "Div"},         {"maximum", "Max"},
    {"minimum", "Min"}, {"relu", "Relu"}, {"sqrt", "Sqrt"}, {"sigmoid", "Sigmoid"}, {"tanh", "Tanh"},
    {"exp", "Exp"},     {"log", "Log"},   {"neg", "Neg"},   {"abs", "Abs"},         {"softplus", "Softplus"}};

// The shape in the file: NHWC tensors become NCHW.
Ints file_shape(const Shape& s) {
  if (s.dim() == 4) return {s[0], s[3], s[1], s[2]};
  const auto sizes = s.sizes();
  return {sizes.begin(), sizes.end()};
}

Ints with_any_batch(Ints shape) {
  shape[0] = -1;
  return shape;
}

// Turns the ops of a forward pass on one image into nodes. Tensors that do not depend on the images become
// constants, with the values computed in this pass.
class Exporter {
 public:
  Exporter(const Module& model, const OnnxOptions& options) : graph_("fulcrum") {
    for (const auto& list : {model.named_parameters(), model.named_buffers()})
      for (const NamedTensor& t : list) names_[t.tensor.raw()] = t;
    const Shape& s = options.image;
    graph_.input("images", {-1, s[2], s[0], s[1]});
    images_ = "images";
    if (options.mean.empty()) return;
    images_ =
        add("Div", {add("Sub", {images_, per_channel("mean", options.mean)}), per_channel("std", options.stddev)});
  }

  void begin(const Tensor& x) { values_.push_back({x, images_}); }

  void take(const Op& op) {
    bool from_images = false;
    for (const Tensor& x : op.inputs) from_images = from_images || (x && value_of(x));
    if (!from_images) return;
    check(op.output.size(0) == 1, "[onnx] cannot export '", op.name, "': it gives ", op.output.shape(),
          ", not one row for each image");
    values_.push_back({op.output, node_for(op)});
  }

  OnnxSummary write(const std::filesystem::path& file, const Tensor& logits, const OnnxOptions& options) {
    const std::string* last = value_of(logits);
    check(last, "[onnx] the model's answer does not depend on the images");
    graph_.node("Identity", {*last}, "logits");
    graph_.output("logits", with_any_batch(file_shape(logits.shape())));
    const std::string bytes = graph_.file(kOpset, "fulcrum", options.metadata);
    check(bytes.size() <= kMostBytes, "[onnx] ", file.string(), ": expected at most 2 GiB, got ", bytes.size(),
          " bytes");
    write_file_atomically(file, {bytes});
    return {graph_.nodes(), parameters_};
  }

 private:
  struct Value {
    Tensor tensor;  // kept alive, so that its address identifies it
    std::string name;
  };

  // The name of t in the graph; null if t is a constant.
  const std::string* value_of(const Tensor& t) const {
    for (const Value& v : values_)
      if (v.tensor.raw() == t.raw() && v.tensor.shape() == t.shape()) return &v.name;
    return nullptr;
  }

  std::string add(const char* op, const std::vector<std::string>& inputs,
                  const std::vector<OnnxAttribute>& attributes = {}) {
    std::string name = concat_text(op, "_", graph_.nodes());
    graph_.node(op, inputs, name, attributes);
    return name;
  }

  std::string name_of(const Tensor& t) {
    if (const std::string* value = value_of(t)) return *value;
    const auto known = names_.find(t.raw());
    const bool named = known != names_.end() && known->second.tensor.shape() == t.shape();
    std::string name = named ? known->second.name : concat_text("constant_", written_.size());
    if (named && written_.contains(name)) return name;
    const Tensor numbers = t.dim() == 4 ? to_oihw(t) : t;  // the same permutation for a weight and for NHWC
    check(numbers.dtype() == DType::kF32 && numbers.device().is_cpu(), "[onnx] ", name,
          ": expected f32 on the CPU, got ", numbers.dtype(), " on ", numbers.device());
    const auto sizes = numbers.shape().sizes();
    floats(name, {sizes.begin(), sizes.end()}, {numbers.data<float>(), static_cast<size_t>(numbers.numel())});
    return name;
  }

  void floats(const std::string& name, const Ints& shape, std::span<const float> values) {
    written_.insert(name);
    graph_.floats(name, shape, values);
    parameters_ += std::ssize(values);
  }

  std::string integers(const Ints& values) {
    std::string name = concat_text("sizes_", integers_++);
    graph_.integers(name, values);
    return name;
  }

  std::string number(double value) {
    std::string name = concat_text("number_", numbers_++);
    const float narrow = static_cast<float>(value);
    graph_.floats(name, {}, {&narrow, 1});
    return name;
  }

  std::string per_channel(const std::string& name, const std::vector<double>& values) {
    floats(name, {1, std::ssize(values), 1, 1}, std::vector<float>(values.begin(), values.end()));
    return name;
  }

  // ---- one function per op; each returns the name of its result ----

  std::string node_for(const Op& op) {
    const std::string_view name = op.name;
    const Tensor& x = op.inputs[0];
    if (name == "conv2d") return convolution(op);
    if (name == "batch_norm") return batch_norm(op);
    if (name == "max_pool2d" || name == "avg_pool2d") return pool(op);
    if (name == "pad_shortcut") return shortcut(op);
    if (name == "reshape") return reshaped(op);
    if (name == "transpose") return transposed(op);
    if (name == "linear") return linear(op);
    if (name == "sum") return sum(op);
    if (name == "concat") return joined(op);
    if (name == "gelu" || name == "gelu_tanh") return gelu(op);
    if (name == "square") return add("Mul", {name_of(x), name_of(x)});
    if (name == "softmax" || name == "log_softmax")
      return add(name == "softmax" ? "Softmax" : "LogSoftmax", {name_of(x)},
                 {{"axis", int64_t{x.dim() == 4 ? 1 : -1}}});
    if (name == "clone") return add("Identity", {name_of(x)});
    for (const auto& [ours, theirs] : kPlainOps)
      if (name == ours) return plain(op, theirs);
    fail("[onnx] cannot export the op '", name, "' on ", x.shape());
  }

  std::string convolution(const Op& op) {
    const auto& g = *op.detail.as<Conv2dGeometry>();
    std::vector<std::string> inputs = {name_of(op.inputs[0]), name_of(op.inputs[1])};
    if (op.inputs[2]) inputs.push_back(name_of(op.inputs[2]));
    return add("Conv", inputs,
               {{"kernel_shape", Ints{g.kernel_h, g.kernel_w}},
                {"strides", Ints{g.stride_h, g.stride_w}},
                {"pads", Ints{g.padding_h, g.padding_w, g.padding_h, g.padding_w}},
                {"dilations", Ints{g.dilation_h, g.dilation_w}},
                {"group", g.groups}});
  }

  std::string pool(const Op& op) {
    const auto& g = *op.detail.as<Pool2dGeometry>();
    const bool average = std::string_view(op.name) == "avg_pool2d";
    const std::string x = name_of(op.inputs[0]);
    if (average && g.kernel_h == g.h && g.kernel_w == g.w && g.padding_h + g.padding_w == 0)
      return add("GlobalAveragePool", {x});
    std::vector<OnnxAttribute> attributes = {{"kernel_shape", Ints{g.kernel_h, g.kernel_w}},
                                             {"strides", Ints{g.stride_h, g.stride_w}},
                                             {"pads", Ints{g.padding_h, g.padding_w, g.padding_h, g.padding_w}}};
    if (average) attributes.push_back({"count_include_pad", int64_t{g.count_include_pad}});
    return add(average ? "AveragePool" : "MaxPool", {x}, attributes);
  }

  std::string batch_norm(const Op& op) {
    const auto& [tensors, args] = *op.detail.as<BatchNormCall>();
    const int dims = op.output.dim();
    check(dims == 2 || dims == 4, "[onnx] cannot export batch normalisation of ", op.output.shape());
    const Shape channels{op.output.size(-1)};
    const auto or_else = [&](const Tensor& t, double value) { return name_of(t ? t : full(channels, value)); };
    std::string y = add("BatchNormalization",
                        {name_of(op.inputs[0]), or_else(tensors.weight, 1), or_else(tensors.bias, 0),
                         name_of(tensors.running_mean), name_of(tensors.running_var)},
                        {{"epsilon", static_cast<float>(args.eps)}});
    if (args.residual) y = add("Add", {y, name_of(args.residual)});
    return args.relu ? add("Relu", {y}) : y;
  }

  // Option A of the CIFAR ResNets: takes every stride-th pixel and adds zero channels on either side.
  std::string shortcut(const Op& op) {
    const Tensor& x = op.inputs[0];
    const int64_t stride = op.detail.as<StridedCopy>()->x_strides[1] / (x.size(2) * x.size(3));
    const int64_t channels = (op.output.size(3) - x.size(3)) / 2;
    std::string y = name_of(x);
    if (stride > 1)
      y = add("Slice",
              {y, integers({0, 0}), integers({x.size(1), x.size(2)}), integers({2, 3}), integers({stride, stride})});
    return channels == 0 ? y : add("Pad", {y, integers({0, channels, 0, 0, 0, channels, 0, 0})});
  }

  // The batch stays the first dimension; a size of 0 copies the input's.
  std::string reshaped(const Op& op) {
    const Tensor& x = op.inputs[0];
    std::string from = name_of(x);
    check(op.output.dim() < 4, "[onnx] cannot export a reshape of ", x.shape(), " to ", op.output.shape());
    const bool one_pixel = x.dim() == 4 && x.size(1) * x.size(2) == 1;
    if (x.dim() == 4 && !one_pixel && x.size(3) > 1) from = add("Transpose", {from}, {{"perm", Ints{0, 2, 3, 1}}});
    const auto sizes = op.output.shape().sizes();
    Ints shape(sizes.begin(), sizes.end());
    shape[0] = 0;
    return add("Reshape", {from, integers(shape)});
  }

  std::string transposed(const Op& op) {
    const auto [a, b] = *op.detail.as<std::pair<int, int>>();
    check(op.output.dim() < 4 && a > 0 && b > 0, "[onnx] cannot export a transposition of ", op.inputs[0].shape());
    Ints order;
    for (int64_t i = 0; i < op.output.dim(); i++) order.push_back(i);
    std::swap(order[static_cast<size_t>(a)], order[static_cast<size_t>(b)]);
    return add("Transpose", {name_of(op.inputs[0])}, {{"perm", order}});
  }

  std::string linear(const Op& op) {
    check(op.inputs[0].dim() == 2, "[onnx] cannot export a linear layer on ", op.inputs[0].shape());
    std::vector<std::string> inputs = {name_of(op.inputs[0]), name_of(op.inputs[1])};
    if (op.inputs.size() > 2 && op.inputs[2]) inputs.push_back(name_of(op.inputs[2]));
    const std::string y = add("Gemm", inputs, {{"transB", int64_t{1}}});
    return op.detail.as<LinearCall>()->relu ? add("Relu", {y}) : y;
  }

  std::string sum(const Op& op) {
    const Tensor& x = op.inputs[0];
    check(x.dim() < 4 && op.output.dim() == x.dim(), "[onnx] cannot export a sum over ", x.shape());
    Ints axes;
    for (int i = 1; i < x.dim(); i++)
      if (x.size(i) != op.output.size(i)) axes.push_back(i);
    return add("ReduceSum", {name_of(x), integers(axes)},
               {{"keepdims", int64_t{1}}, {"noop_with_empty_axes", int64_t{1}}});
  }

  // The dimension is the one that has grown; the batch, at 0, cannot be it.
  std::string joined(const Op& op) {
    const Tensor& x = op.inputs[0];
    int grown = 1;
    while (grown < x.dim() - 1 && op.output.size(grown) == x.size(grown)) grown++;
    std::vector<std::string> inputs;
    for (const Tensor& part : op.inputs) {
      // A constant has one row, and would need as many as there are images.
      check(value_of(part), "[onnx] cannot export 'concat' with a constant ", part.shape());
      inputs.push_back(name_of(part));
    }
    constexpr int64_t kFileAxes[] = {0, 2, 3, 1};  // of [B, H, W, C] in [B, C, H, W]
    return add("Concat", inputs, {{"axis", x.dim() == 4 ? kFileAxes[grown] : int64_t{grown}}});
  }

  // ½x(1 + erf(x/√2)), or ½x(1 + tanh(√(2/π)(x + 0.044715x³))): ONNX has a Gelu only from operator set 20 on.
  std::string gelu(const Op& op) {
    const std::string x = name_of(op.inputs[0]);
    std::string inner;
    if (std::string_view(op.name) == "gelu") {
      inner = add("Erf", {add("Mul", {x, number(0.70710678118654752)})});
    } else {
      const std::string cube = add("Mul", {add("Mul", {x, x}), x});
      const std::string sum = add("Add", {x, add("Mul", {cube, number(0.044715)})});
      inner = add("Tanh", {add("Mul", {sum, number(0.79788456080286536)})});
    }
    return add("Mul", {add("Mul", {x, number(0.5)}), add("Add", {inner, number(1)})});
  }

  std::string plain(const Op& op, const char* theirs) {
    std::vector<std::string> inputs;
    for (const Tensor& x : op.inputs) {
      check(op.output.dim() < 4 || x.dim() == 4 || x.numel() == 1, "[onnx] cannot export '", op.name, "' of ",
            op.output.shape(), " and ", x.shape());
      inputs.push_back(name_of(x));
    }
    return add(theirs, inputs);
  }

  OnnxGraph graph_;
  std::map<const void*, NamedTensor> names_;
  std::set<std::string> written_;
  std::vector<Value> values_;
  std::string images_;
  int64_t integers_ = 0, numbers_ = 0, parameters_ = 0;
};

}  // namespace

OnnxSummary export_onnx(Module& model, const std::filesystem::path& file, const OnnxOptions& options) {
  const Shape& s = options.image;
  check(s.dim() == 3, "[onnx] expected the shape of an image, [H, W, C], got ", s);
  check(options.mean.size() == options.stddev.size() && (options.mean.empty() || std::ssize(options.mean) == s[2]),
        "[onnx] expected a mean and a std for each of ", s[2], " channels, got ", options.mean.size(), " and ",
        options.stddev.size());
  const NoGrad no_grad;
  const EvalMode eval_mode(model);
  Exporter exporter(model, options);
  const Tensor images = zeros({1, s[0], s[1], s[2]});
  exporter.begin(images);
  Tensor logits;
  {
    const OpObserver observer([&](const Op& op) { exporter.take(op); });
    logits = model(images);
    if (options.logit_scale != 1) logits = logits * options.logit_scale;
  }
  return exporter.write(file, logits, options);
}

}  // namespace fulcrum
