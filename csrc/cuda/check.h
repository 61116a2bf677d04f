// Errors of the CUDA runtime as exceptions that name the operation.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace pyad::cuda {

inline void check(const char* op, const char* what, cudaError_t status) {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // or whoever asks next, ours or another library, takes it for its own
    throw std::runtime_error(std::string("[") + op + "] " + what +
                             " failed on the CUDA device: " + cudaGetErrorString(status));
}

// No driver, too old a driver or no device: a machine without CUDA, not a failure.
inline bool means_no_device(cudaError_t status) {
    return status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver;
}

}  // namespace pyad::cuda
