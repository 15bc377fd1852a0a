// export_onnx: writes a model as an ONNX file (https://onnx.ai), for onnxruntime, TensorRT, OpenVINO and the like.
//
//   Resnet net = resnet32({.classes = 10});
//   export_onnx(net, "net.onnx", {.image = {32, 32, 3}});
//
// Runs the model once in evaluation mode and records its ops as the graph, so any network that consists of
// supported ops can be exported. The file has one input, "images", f32 [batch, C, H, W] (PyTorch's
// layout), and one output, "logits", f32 [batch, classes]. The batch size is free; H and W are fixed.
// Uses operator set 17 (ONNX 1.12, 2022), which all recent runtimes read.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <fulcrum/layers/module.h>

namespace fulcrum {

struct OnnxOptions {
  Shape image;  // [H, W, C]
  /// One value per channel. If given, the graph begins with (x − mean) / std, and its input is pixel / 255, in [0, 1].
  std::vector<double> mean = {}, stddev = {};
  /// The model's answers times this are the logits: for LDAM, whose cosines are trained with a scale.
  double logit_scale = 1;
  std::map<std::string, std::string> metadata = {};  // written as metadata_props
};

struct OnnxSummary {
  int64_t nodes = 0, parameters = 0;  // parameters: elements of the f32 initializers, without scalar constants
};

/// Exports a model that is on the CPU, in f32. Throws Error, and writes no file, if an op cannot be exported; the
/// error names it.
OnnxSummary export_onnx(Module& model, const std::filesystem::path& file, const OnnxOptions& options);

}  // namespace fulcrum
