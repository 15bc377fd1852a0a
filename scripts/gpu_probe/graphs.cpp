#include "graphs.h"

namespace probe {

namespace {

constexpr auto kFloat = fe::DataType_t::FLOAT;

template <class Attributes>
Attributes window(const Conv& g) {
  return Attributes().set_padding({g.padding(), g.padding()}).set_stride({g.stride, g.stride}).set_dilation({1, 1});
}

fe::graph::Pointwise_attributes mode(fe::PointwiseMode_t m) { return fe::graph::Pointwise_attributes().set_mode(m); }

}  // namespace

ProbeGraph conv_graph(const Conv& g, Pass pass, Numbers numbers) {
  ProbeGraph graph(numbers);
  const std::vector<int64_t> x{g.n, g.c, g.side, g.side}, w{g.k, g.c, g.kernel, g.kernel},
      y{g.n, g.k, g.out(), g.out()};
  if (pass == Pass::kForward) {
    const Tensor in = graph.input(x), weight = graph.input(w);
    graph.output(graph.conv_fprop(in, weight, window<fe::graph::Conv_fprop_attributes>(g)), y);
  } else if (pass == Pass::kDataGradient) {
    const Tensor dy = graph.input(y), weight = graph.input(w);
    graph.output(graph.conv_dgrad(dy, weight, window<fe::graph::Conv_dgrad_attributes>(g)), x);
  } else {
    const Tensor dy = graph.input(y), in = graph.input(x);
    graph.output(graph.conv_wgrad(dy, in, window<fe::graph::Conv_wgrad_attributes>(g)), w);
  }
  return graph;
}

ProbeGraph conv_sums_graph(const Conv& g) {
  ProbeGraph graph(Numbers::kBf16);
  const Tensor x = graph.input({g.n, g.c, g.side, g.side}), w = graph.input({g.k, g.c, g.kernel, g.kernel});
  const Tensor y = graph.conv_fprop(x, w, window<fe::graph::Conv_fprop_attributes>(g));
  graph.output(y, {g.n, g.k, g.out(), g.out()});
  const Tensor squares = graph.pointwise(y, y, mode(fe::PointwiseMode_t::MUL));
  for (const Tensor& t : {y, squares})
    graph.output(graph.reduction(t, fe::graph::Reduction_attributes().set_mode(fe::ReductionMode_t::ADD)),
                 {1, g.k, 1, 1}, kFloat);
  return graph;
}

ProbeGraph norm_graph(const Norm& n, NormKind kind) {
  ProbeGraph graph(Numbers::kBf16);
  const std::vector<int64_t> all{n.n, n.c, n.side, n.side}, channels{1, n.c, 1, 1};
  const Tensor x = graph.input(all), scale = graph.input(channels, kFloat);
  if (kind == NormKind::kRelu || kind == NormKind::kAddRelu) {
    Tensor bias = graph.input(channels, kFloat), mean = graph.input(channels, kFloat);
    Tensor variance = graph.input(channels, kFloat), epsilon = graph.tensor(1e-5f), momentum = graph.tensor(0.1f);
    auto attributes = fe::graph::Batchnorm_attributes().set_epsilon(epsilon);
    attributes.set_previous_running_stats(mean, variance, momentum);
    const auto outputs = graph.batchnorm(x, scale, bias, attributes);  // y, then four vectors
    for (size_t i = 1; i < outputs.size(); i++) graph.output(outputs[i], channels, kFloat);
    Tensor y = outputs[0];
    if (kind == NormKind::kAddRelu) y = graph.pointwise(y, graph.input(all), mode(fe::PointwiseMode_t::ADD));
    y = graph.pointwise(y, mode(fe::PointwiseMode_t::RELU_FWD));
    graph.output(y, all);
    if (kind == NormKind::kAddRelu) {  // the mask that the gradient reads
      const Tensor zero = graph.tensor(0.0f);
      graph.output(graph.pointwise(y, zero, mode(fe::PointwiseMode_t::CMP_GT)), all, fe::DataType_t::BOOLEAN);
    }
    return graph;
  }
  const Tensor dy = graph.input(all), mean = graph.input(channels, kFloat), rstd = graph.input(channels, kFloat);
  Tensor dz;
  if (kind == NormKind::kAddReluGradient) {
    dz = graph.pointwise(dy, graph.input(all, fe::DataType_t::BOOLEAN), mode(fe::PointwiseMode_t::MUL));
    graph.output(dz, all);
  } else {  // computes the ReLU's input from x once more: no mask
    const Tensor bias = graph.input(channels, kFloat);
    const Tensor y = graph.batchnorm_inference(x, mean, rstd, scale, bias, fe::graph::Batchnorm_inference_attributes());
    dz = graph.pointwise(dy, y, mode(fe::PointwiseMode_t::RELU_BWD));
    dz->set_data_type(fe::DataType_t::BFLOAT16);
  }
  auto attributes = fe::graph::Batchnorm_backward_attributes().set_saved_mean_and_inv_variance(mean, rstd);
  const auto [dx, dscale, dbias] = graph.batchnorm_backward(dz, x, scale, attributes);
  graph.output(dx, all);
  graph.output(dscale, channels, kFloat);
  graph.output(dbias, channels, kFloat);
  return graph;
}

std::shared_ptr<fe::DeviceProperties> h200() {
  const std::string json =
      R"({"cudaDeviceId": 0, "deviceVer": 900, "driverVer": 13000, "rtVer": 13000, "cudartVer": 13000, )"
      R"("maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536, )"
      R"("multiProcessorCount": 132, "warpSize": 32, "maxSharedMemoryPerBlock": 49152, )"
      R"("maxSharedMemoryPerBlockOptin": 232448, "maxSharedMemoryPerSM": 233472, )"
      R"("reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, )"
      R"("maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "pciDeviceId": 9013, "isTccDriver": 0, )"
      R"("supportCoopLaunch": 1, "smClockRateKHz": 1980000, "memClockRateKHz": 3201000, )"
      R"("l2CacheSize": 62914560, "totalGlobalMem": 150000000000, "deviceName": "NVIDIA H200", "memBusWidth": 6144})";
  auto device = std::make_shared<fe::DeviceProperties>();
  if (device->deserialize({json.begin(), json.end()}).is_bad())
    throw std::runtime_error("cuDNN does not take the properties of a device");
  return device;
}

}  // namespace probe
