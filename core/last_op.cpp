#include <fulcrum/core/last_op.h>

#include <fulcrum/core/check.h>

namespace fulcrum {

namespace {
void erase_all(std::string& text, const std::string& what) {
  for (size_t at; (at = text.find(what)) != std::string::npos;) text.erase(at, what.size());
}
}  // namespace

std::string op_name(std::string function) {
  for (const char* space : {"{anonymous}::", "(anonymous namespace)::", "fulcrum::"}) erase_all(function, space);
  const size_t arguments = function.find('(');
  const std::string rest = arguments == std::string::npos ? "" : function.substr(arguments);
  std::string name = function.substr(0, arguments);
  if (const size_t space = name.rfind(' '); space != std::string::npos) name.erase(0, space + 1);
  const bool gradient = rest.find("Needs)") != std::string::npos;  // the second parameter of every gradient
  // Keep a template's arguments: "[with F = Relu]".
  if (const size_t with = rest.rfind(" ["); with != std::string::npos) name += rest.substr(with);
  return gradient ? name + "'s gradient" : name;
}

std::string last_op_text() {
  constexpr const char* kHint = "; CUDA_LAUNCH_BLOCKING=1 and --no-graph name the op that failed";
  switch (last_op.what) {
    case LastOp::What::kNone: return "";
    case LastOp::What::kRecordedStep: return concat_text("; in a recorded step", kHint);
    case LastOp::What::kOp: break;
  }
  return concat_text("; at the latest in ", op_name(last_op.where.function_name()), " of ", last_op.dtype, " ",
                     last_op.shape, kHint);
}

}  // namespace fulcrum
