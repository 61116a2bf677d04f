# PYAD_CUDA=EMULATED: the module _cuda with every kernel's block program run on the host, so that
# bindings, Python faces and the tests marked `cuda` run on machines without a GPU. For tests only:
# it is never installed, and it is slow. Kernels whose launchers use the CUDA runtime themselves
# are left out.
file(GLOB launchers CONFIGURE_DEPENDS csrc/cuda/*.cu)
set(sources tests/emulated_cuda/device.cpp csrc/bindings/register_cuda_device.cpp
            csrc/bindings/register_cuda_dlpack.cpp)
set(declarations "")
set(registrations "    register_cuda_device(m);\n    register_cuda_dlpack(m);\n")
foreach(launcher IN LISTS launchers)
    get_filename_component(stem ${launcher} NAME_WE)
    file(STRINGS ${launcher} runtime REGEX "cuda_runtime|check\\.h|__global__|cudaStream_t")
    if(runtime OR NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/csrc/bindings/register_cuda_${stem}.cpp)
        continue()
    endif()
    set_source_files_properties(${launcher} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS
        "-x;c++;-include;${CMAKE_CURRENT_SOURCE_DIR}/tests/emulated_cuda/launch.h")
    list(APPEND sources ${launcher} csrc/bindings/register_cuda_${stem}.cpp)
    string(APPEND declarations "void register_cuda_${stem}(py::module_& m);\n")
    string(APPEND registrations "    register_cuda_${stem}(m);\n")
endforeach()
file(CONFIGURE OUTPUT emulated_cuda_module.cpp CONTENT
"#include \"cuda_module.h\"
namespace pyad::bindings {
@declarations@}
PYBIND11_MODULE(_cuda, m) {
    using namespace pyad::bindings;
@registrations@}
" @ONLY)
pybind11_add_module(_cuda ${CMAKE_CURRENT_BINARY_DIR}/emulated_cuda_module.cpp ${sources})
target_include_directories(_cuda PRIVATE csrc/include csrc/cuda csrc/bindings)
target_link_libraries(_cuda PRIVATE pyad_cpu)
target_compile_options(_cuda PRIVATE -Wall -Wextra -ffp-contract=off)
