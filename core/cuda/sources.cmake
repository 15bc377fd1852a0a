# The CUDA back-end: .cu is device code, .cpp calls libraries. tests/simt reads the list of device code.
set(FULCRUM_CUDA_KERNELS
  elementwise.cu reduce.cu softmax.cu pool.cu norm.cu)
