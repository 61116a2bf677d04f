# Programs beside the native tests, built on demand: the fuzz targets of tests/native/fuzz under libFuzzer
# (native_fuzz) and without it (native_replay), and tests/native/threads (native_threads).
file(GLOB PYAD_FUZZ_SOURCES CONFIGURE_DEPENDS tests/native/fuzz/*.cpp)
list(FILTER PYAD_FUZZ_SOURCES EXCLUDE REGEX "/(fuzzer|replay)\\.cpp$")
file(GLOB PYAD_THREADS_SOURCES CONFIGURE_DEPENDS tests/native/threads/*.cpp)

function(pyad_native_program name)
    add_executable(${name} EXCLUDE_FROM_ALL ${ARGN})
    target_link_libraries(${name} PRIVATE pyad_cpu)
    target_compile_options(${name} PRIVATE -O1 -Wall -Wextra -ffp-contract=off)
endfunction()

pyad_native_program(native_replay ${PYAD_FUZZ_SOURCES} tests/native/fuzz/replay.cpp)
pyad_native_program(native_threads ${PYAD_THREADS_SOURCES})
if(PYAD_FUZZ)
    if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "PYAD_FUZZ=ON needs libFuzzer, which comes with clang; the compiler is "
                            "${CMAKE_CXX_COMPILER_ID}. Install clang and pass -DCMAKE_CXX_COMPILER=clang++.")
    endif()
    pyad_native_program(native_fuzz ${PYAD_FUZZ_SOURCES} tests/native/fuzz/fuzzer.cpp)
    # Coverage is the kernels'; what makes their arguments is only to be quick.
    target_compile_options(native_fuzz PRIVATE -O2 -fno-sanitize=fuzzer-no-link,undefined,float-cast-overflow)
    target_link_options(native_fuzz PRIVATE -fsanitize=fuzzer)
endif()
