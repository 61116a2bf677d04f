# pybind11_add_module from headers alone, PYAD_PYBIND11_INCLUDE: for machines that have them inside
# another package (torch carries them) and cannot fetch pybind11 itself.
if(NOT EXISTS "${PYAD_PYBIND11_INCLUDE}/pybind11/pybind11.h")
    message(FATAL_ERROR "PYAD_PYBIND11_INCLUDE=${PYAD_PYBIND11_INCLUDE} holds no pybind11/pybind11.h.")
endif()
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)

function(pybind11_add_module name)
    python_add_library(${name} MODULE WITH_SOABI ${ARGN})
    target_include_directories(${name} SYSTEM PRIVATE "${PYAD_PYBIND11_INCLUDE}")
    set_target_properties(${name} PROPERTIES CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden)
endfunction()
