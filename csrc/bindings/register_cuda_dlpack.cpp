// Reads DLPack capsules (github.com/dmlc/dlpack, dlpack.h): tensors of other libraries, no copy.
#include <string>

#include "cuda_module.h"

namespace pyad::bindings {
namespace {

// The structures of dlpack.h, version 0 (capsule "dltensor") and 1 ("dltensor_versioned").
struct DLDevice {
    int32_t type;  // 1: host, 2: CUDA, 3: host memory pinned by CUDA, 13: managed by CUDA
    int32_t id;
};
struct DLDataType {
    uint8_t code;  // 0: int, 1: unsigned, 2: float, 4: bfloat, 5: complex, 6: bool
    uint8_t bits;
    uint16_t lanes;
};
struct DLTensor {
    void* data;
    DLDevice device;
    int32_t ndim;
    DLDataType dtype;
    int64_t* shape;
    int64_t* strides;  // in elements; nullptr: C-contiguous
    uint64_t byte_offset;
};
struct DLManagedTensor {
    DLTensor tensor;
    void* context;
    void (*deleter)(DLManagedTensor*);
};
struct DLManagedTensorVersioned {
    uint32_t major, minor;
    void* context;
    void (*deleter)(DLManagedTensorVersioned*);
    uint64_t flags;  // bit 0: read-only
    DLTensor tensor;
};

// Takes the tensor out of the capsule (renaming it is the protocol's way to say so) and makes a new
// capsule that owns it.
template <typename Managed>
py::capsule take(const py::capsule& capsule, const char* used) {
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), capsule.name()));
    if (managed == nullptr) throw py::error_already_set();
    if (PyCapsule_SetName(capsule.ptr(), used) != 0) throw py::error_already_set();
    return py::capsule(managed, [](void* memory) {
        auto* owned = static_cast<Managed*>(memory);
        if (owned->deleter != nullptr) owned->deleter(owned);
    });
}

py::tuple describe(const DLTensor& tensor, bool read_only, const py::capsule& owner) {
    const DLDataType type = tensor.dtype;
    py::tuple shape(tensor.ndim), steps(tensor.ndim);
    for (int i = 0; i < tensor.ndim; ++i) {
        shape[i] = tensor.shape[i];
        if (tensor.strides != nullptr) steps[i] = tensor.strides[i] * (type.bits / 8);
    }
    const py::object strides = tensor.strides == nullptr ? py::object(py::none()) : steps;
    constexpr const char* kinds = "iuf?bc?";
    const std::string kind = type.code == 6   ? "b1"
                             : type.code == 4 ? "bfloat" + std::to_string(type.bits)
                             : type.code <= 5
                                 ? std::string(1, kinds[type.code]) + std::to_string(type.bits / 8)
                                 : "?";
    return py::make_tuple(reinterpret_cast<Address>(tensor.data) + tensor.byte_offset, shape,
                          type.lanes == 1 ? kind : "?", strides, read_only, tensor.device.type,
                          tensor.device.id, owner);
}

}  // namespace

void register_cuda_dlpack(py::module_& m) {
    // (address, shape, NumPy type, strides in bytes or None where C-contiguous, read-only, device
    // type, device, owner)
    m.def("dlpack_view", [](const py::capsule& capsule) {
        const std::string name = capsule.name() == nullptr ? "" : capsule.name();
        if (name == "dltensor") {
            const auto owner = take<DLManagedTensor>(capsule, "used_dltensor");
            return describe(owner.get_pointer<DLManagedTensor>()->tensor, false, owner);
        }
        if (name == "dltensor_versioned") {
            const auto owner = take<DLManagedTensorVersioned>(capsule, "used_dltensor_versioned");
            const auto* managed = owner.get_pointer<DLManagedTensorVersioned>();
            if (managed->major != 1)
                throw py::value_error("DLPack version " + std::to_string(managed->major) +
                                      " is not known");
            return describe(managed->tensor, (managed->flags & 1) != 0, owner);
        }
        throw py::value_error("expected an unused DLPack capsule, got one named '" + name + "'");
    });
}

}  // namespace pyad::bindings
