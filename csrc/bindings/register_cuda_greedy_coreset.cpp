#include "cuda_module.h"
#include "pyad/cuda/greedy_coreset.h"

namespace pyad::bindings {

void register_cuda_greedy_coreset(py::module_& m) {
    m.def("greedy_coreset_workspace", &cuda::greedy_coreset_workspace);
    m.def("greedy_coreset_start",
          [](Address initial, int64_t N, Address workspace, Address stream) {
              py::gil_scoped_release release;
              cuda::greedy_coreset_start(pointer<const float>(initial), N, pointer<void>(workspace),
                                         pointer<void>(stream));
          });
    m.def("greedy_coreset_passes",
          [](Address points, int64_t N, int64_t P, int64_t count, int64_t passes, Address workspace,
             Address picks, Address stream) {
              py::gil_scoped_release release;
              cuda::greedy_coreset_passes(pointer<const float>(points), N, P, count, passes,
                                          pointer<void>(workspace), pointer<int64_t>(picks),
                                          pointer<void>(stream));
          });
}

}  // namespace pyad::bindings
