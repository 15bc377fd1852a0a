// Loads pretrained weights: those of torchvision and timm, as exported by scripts/export_torch.py, and Fulcrum's own
// files.
//
//   load_pretrained(*model, "resnet50.safetensors");
//   // "pretrained: 318 tensors of resnet50.safetensors; fc starts anew: it has 1000 classes there, 10 here"
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <fulcrum/layers/module.h>

namespace fulcrum::apps {

/// Loads the file's tensors into the model and returns a line on what was done. `path` is a file, or a run directory
/// (its best.safetensors).
/// The head (head_prefix of models.h) keeps its initial weights if the file has none or one of another shape, if the
/// file names classes other than `classes`, or with `reset_head`. All other tensors must match exactly: otherwise
/// throws Error, which lists every missing, unexpected and mis-shaped tensor, and leaves the model as it was.
std::string load_pretrained(Module& model, const std::filesystem::path& path, bool reset_head = false,
                            const std::vector<std::string>& classes = {});

}  // namespace fulcrum::apps
