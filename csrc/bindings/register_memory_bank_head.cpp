#include "feature_maps.h"
#include "pyad/memory_bank_head.h"

namespace pyad::bindings {
void register_memory_bank_head(py::module_& m) {
    m.def(
        "reweighted_score",
        [](float squared, const Array<float>& around) {
            if (around.size() == 0) throw py::value_error("[memory_bank] expected neighbours.");
            return reweighted_score(squared, around.data(), around.size());
        },
        py::arg("squared"), py::arg("around").noconvert());

    py::enum_<HeadStatus>(m, "HeadStatus")
        .value("ok", HeadStatus::ok)
        .value("not_finite", HeadStatus::not_finite)
        .value("overflow", HeadStatus::overflow)
        .value("no_patch", HeadStatus::no_patch);

    py::class_<MemoryBankHead>(m, "MemoryBankHead")
        .def(py::init<const AggregationPlan&, const MemoryBank&, int64_t>(), py::arg("plan"),
             py::arg("bank"), py::arg("neighbors"), py::keep_alive<1, 2>(), py::keep_alive<1, 3>())
        .def(
            "score",
            [](const MemoryBankHead& head, const std::vector<py::array>& features,
               const std::vector<const Banded*>& rows, const std::vector<const Banded*>& columns,
               const Array<uint8_t>& valid, Array<float>& image, Array<float>& patch,
               Array<int64_t>& nearest, Array<float>& distances) {
                const auto maps = maps_of(head.plan(), features, rows, columns);
                const int64_t N = features[0].shape(0), count = N * maps[0].h * maps[0].w;
                if (image.size() != N || patch.size() != count || nearest.size() != count ||
                    distances.size() != count || (valid.size() && valid.size() != count))
                    throw py::value_error("[memory_bank] expected outputs of (N,) and (N, h, w).");
                const HeadScores out{image.mutable_data(), patch.mutable_data(),
                                     nearest.mutable_data(), distances.mutable_data()};
                const uint8_t* counts = valid.size() ? valid.data() : nullptr;
                py::gil_scoped_release release;
                return head.score(maps, N, counts, out);
            },
            py::arg("features"), py::arg("rows"), py::arg("columns"), py::arg("valid").noconvert(),
            py::arg("image").noconvert(), py::arg("patch").noconvert(),
            py::arg("nearest").noconvert(), py::arg("distances").noconvert())
        .def(
            "reweight",
            [](const MemoryBankHead& head, const Array<float>& patch, float squared, int64_t row) {
                if (head.neighbors() < 1 || patch.size() != head.plan().dims || row < 0 ||
                    row >= head.rows())
                    throw py::value_error("[memory_bank] expected a patch (D,) and a bank row.");
                const float* data = patch.data();
                py::gil_scoped_release release;
                return head.reweight(data, squared, row);
            },
            py::arg("patch").noconvert(), py::arg("squared"), py::arg("row"));
}

}  // namespace pyad::bindings
