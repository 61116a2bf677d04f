# pyad_cuda_architectures(<out> <wanted> <nvcc>): what CMAKE_CUDA_ARCHITECTURES has to be.
#
#   native  the devices that answer here; where none does (or nvcc is older than the device),
#           75-virtual and 80-virtual: no machine code, quick to build, and the driver of any later
#           device compiles it at its first use (80: tensor cores in their present form)
#   all     machine code for every generation that is supported, and PTX of the newest for later ones
#   others  are taken as they stand, in CMake's notation
#
# Compute capability 11.0 (Thor) is called 101 by CUDA 12 and 110 by CUDA 13.
set(PYAD_ALL_ARCHITECTURES 75 80 86 87 89 90 100 110 120)

function(pyad_cuda_architectures out wanted nvcc)
    if(NOT wanted STREQUAL "native" AND NOT wanted STREQUAL "all")
        set(${out} "${wanted}" PARENT_SCOPE)
        return()
    endif()
    execute_process(COMMAND "${nvcc}" --list-gpu-code OUTPUT_VARIABLE listed ERROR_QUIET RESULT_VARIABLE failed)
    string(REGEX MATCHALL "sm_[0-9]+" known "${listed}")
    list(TRANSFORM known REPLACE "sm_" "")

    set(architectures ${PYAD_ALL_ARCHITECTURES})
    if(wanted STREQUAL "native")
        execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
                        OUTPUT_VARIABLE devices ERROR_QUIET RESULT_VARIABLE failed TIMEOUT 30)
        string(REGEX MATCHALL "[0-9]+\\.[0-9]" architectures "${devices}")
        list(TRANSFORM architectures REPLACE "\\." "")
        list(REMOVE_DUPLICATES architectures)
    endif()

    set(result "")
    set(missing "")
    foreach(architecture IN LISTS architectures)
        set(names ${architecture})
        if(architecture MATCHES "^(110|101)$")
            set(names 110 101)
        endif()
        set(found FALSE)
        foreach(name IN LISTS names)
            if(name IN_LIST known AND NOT found)
                list(APPEND result ${name}-real)
                set(found TRUE)
            endif()
        endforeach()
        if(NOT found)
            list(APPEND missing ${architecture})
        endif()
    endforeach()

    if(wanted STREQUAL "all")
        if(missing)
            message(FATAL_ERROR "PYAD_CUDA_ARCHITECTURES=all needs CUDA 12.8 or newer: ${nvcc} does not know "
                                "${missing}. Name the architectures that you need, such as "
                                "-DPYAD_CUDA_ARCHITECTURES='80-real;90-real'.")
        endif()
        list(APPEND result 120-virtual)
    elseif(missing OR NOT result)
        set(result 75-virtual 80-virtual)
    endif()
    set(${out} "${result}" PARENT_SCOPE)
endfunction()
