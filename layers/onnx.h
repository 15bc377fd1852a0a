// Models as ONNX files (https://onnx.ai), for onnxruntime, TensorRT, OpenVINO and the like.
//
//   Resnet net = resnet32({.classes = 10});
//   export_onnx(net, "net.onnx", {.image = {32, 32, 3}});
//
// The model is run once in evaluation mode, and what it computes becomes the graph: any network whose
// ops are known here can be exported. The file has one input, "images", f32 [batch, C, H, W] as
// PyTorch lays images out, and one output, "logits", f32 [batch, classes]; the batch is of any size,
// H and W are fixed. Operator set 17 (ONNX 1.12, 2022), so that runtimes of the last years read it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <fulcrum/layers/module.h>

namespace fulcrum {

struct OnnxOptions {
  Shape image;  // [H, W, C]
  /// For each channel: images are then pixel / 255, in [0, 1], and the graph begins with (x − mean) / std.
  std::vector<double> mean = {}, stddev = {};
  std::map<std::string, std::string> metadata = {};  // metadata_props
};

struct OnnxSummary {
  int64_t nodes = 0, parameters = 0;  // elements of the initializers
};

/// The model is on the CPU, in f32. An Error names an op that cannot be exported; no file is written
/// then.
OnnxSummary export_onnx(Module& model, const std::filesystem::path& file, const OnnxOptions& options);

}  // namespace fulcrum
