#include "cuda_module.h"
#include "pyad/cuda/device.h"

namespace pyad::bindings {

void register_cuda_device(py::module_& m) {
    using Release = py::call_guard<py::gil_scoped_release>;
    m.def("device_count", &cuda::device_count);
    m.def("current_device", &cuda::current_device);
    m.def("device_traits", [] {
        const cuda::DeviceTraits traits = cuda::device_traits();
        return py::make_tuple(traits.capability, traits.multiprocessors);
    });
    m.def("device_name", &cuda::device_name);
    m.def("device_of", [](Address memory) { return cuda::device_of(pointer<void>(memory)); });
    m.def(
        "allocate", [](size_t bytes) { return reinterpret_cast<Address>(cuda::allocate(bytes)); },
        Release());
    m.def("release", [](Address memory) { cuda::release(pointer<void>(memory)); }, Release());
    m.def(
        "fill_bytes",
        [](Address memory, int value, size_t bytes, Address stream) {
            cuda::fill_bytes(pointer<void>(memory), value, bytes, pointer<void>(stream));
        },
        Release());
    m.def(
        "synchronize", [](Address stream) { cuda::synchronize(pointer<void>(stream)); }, Release());
    m.def("wait_for", [](Address stream, Address producer) {
        cuda::wait_for(pointer<void>(stream), pointer<void>(producer));
    });
    // Pinned host memory as a uint8 array, freed with the last view of it.
    m.def("pinned", [](size_t bytes) {
        void* memory = cuda::allocate_pinned(bytes > 0 ? bytes : 1);
        const py::capsule owner(memory, &cuda::release_pinned);
        return Array<uint8_t>(static_cast<py::ssize_t>(bytes), static_cast<uint8_t*>(memory),
                              owner);
    });
    m.def("enqueue_copy", [](Address to, Address from, size_t bytes, Address stream) {
        cuda::enqueue_copy(pointer<void>(to), pointer<void>(from), bytes, pointer<void>(stream));
    });
    // Host arrays are contiguous; their bytes are copied.
    m.def("copy_to_device", [](Address to, const py::buffer& from, Address stream) {
        const py::buffer_info host = from.request();
        py::gil_scoped_release release;
        cuda::copy_to_device(pointer<void>(to), host.ptr, host.size * host.itemsize,
                             pointer<void>(stream));
    });
    m.def("copy_to_host", [](const py::buffer& to, Address from, Address stream) {
        const py::buffer_info host = to.request(true);
        py::gil_scoped_release release;
        cuda::copy_to_host(host.ptr, pointer<void>(from), host.size * host.itemsize,
                           pointer<void>(stream));
    });
}

}  // namespace pyad::bindings
