# The CUDA back-end: .cu is device code, .cpp calls libraries. tests/simt reads the list of device code.
set(FULCRUM_CUDA_KERNELS
  elementwise.cu gather.cu sort.cu pairs.cu reduce.cu softmax.cu pool.cu norm.cu norm_parts.cu loss.cu update.cu risk.cu risk_batch.cu kl_ball.cu augment.cu mix.cu space_to_depth.cu
  conv3x3.cu conv3x3_weights.cu)
