# pyad_write_sbom(<file> <version> <pybind11> <cuda>): what is compiled into the wheel, as CycloneDX 1.6.
#
# A wheel says which packages it needs, but not what its own modules were made of (PEP 770). Versions
# that are not known are left out; <cuda> is empty where the CUDA module is not built.
function(pyad_sbom_component out name version type licence supplier description)
    set(field "")
    if(NOT version STREQUAL "")
        set(field "\"version\": \"${version}\", ")
    endif()
    string(CONCAT text
        "    { \"type\": \"${type}\", \"bom-ref\": \"${name}\", \"name\": \"${name}\", ${field}"
        "\"supplier\": { \"name\": \"${supplier}\" }, \"licenses\": [ { \"license\": ${licence} } ], "
        "\"description\": \"${description}\" }")
    set(${out} "${text}" PARENT_SCOPE)
endfunction()

function(pyad_write_sbom file version pybind11 cuda)
    pyad_sbom_component(header pybind11 "${pybind11}" library "{ \"id\": \"BSD-3-Clause\" }" "The pybind11 authors"
        "Headers, compiled into pyad_edge/_native and _cuda.")
    pyad_sbom_component(backbone edge18 "${version}" machine-learning-model "{ \"id\": \"Apache-2.0\" }"
        "The pyad_edge authors" "Built-in backbone, distilled from ResNet-18; NOTICE says from what.")
    set(components "${header},\n${backbone}")
    set(names "\"pybind11\", \"edge18\"")
    if(NOT cuda STREQUAL "")
        pyad_sbom_component(runtime cudart_static "${cuda}" library "{ \"name\": \"NVIDIA CUDA Toolkit EULA\" }"
            NVIDIA "CUDA runtime, linked into pyad_edge/_cuda.")
        string(APPEND components ",\n${runtime}")
        string(APPEND names ", \"cudart_static\"")
    endif()
    file(WRITE "${file}" "{
  \"bomFormat\": \"CycloneDX\",
  \"specVersion\": \"1.6\",
  \"version\": 1,
  \"metadata\": {
    \"component\": { \"type\": \"library\", \"bom-ref\": \"pyad_edge\", \"name\": \"pyad_edge\",
      \"version\": \"${version}\", \"purl\": \"pkg:pypi/pyad-edge@${version}\",
      \"licenses\": [ { \"license\": { \"id\": \"Apache-2.0\" } } ] }
  },
  \"components\": [
${components}
  ],
  \"dependencies\": [ { \"ref\": \"pyad_edge\", \"dependsOn\": [ ${names} ] } ]
}
")
endfunction()
