#include "feature_maps.h"
#include "pyad/decide.h"

namespace pyad::bindings {

void register_decide(py::module_& m) {
    py::class_<Certificate>(m, "Certificate")
        .def(py::init([](const MemoryBank& bank, int64_t h, int64_t w, int64_t strips,
                         int64_t columns, std::vector<int64_t> order, std::vector<int64_t> panels) {
                 py::gil_scoped_release release;
                 return new Certificate(
                     bank, {h, w, strips, columns, std::move(order), std::move(panels)});
             }),
             py::arg("bank"), py::arg("h"), py::arg("w"), py::arg("strips"), py::arg("columns"),
             py::arg("order"), py::arg("panels"), py::keep_alive<1, 2>())
        .def_property_readonly("usable", &Certificate::usable);

    py::class_<Decider>(m, "Decider")
        .def(py::init<const MemoryBankHead&, const Certificate&>(), py::arg("head"),
             py::arg("certificate"), py::keep_alive<1, 2>(), py::keep_alive<1, 3>())
        .def(
            "decide",
            [](const Decider& decider, const std::vector<py::array>& features,
               const std::vector<const Banded*>& rows, const std::vector<const Banded*>& columns,
               const Array<uint8_t>& valid, float bar, bool exact) {
                const auto maps = maps_of(decider.plan(), features, rows, columns);
                if (features[0].shape(0) != 1 || maps[0].h != decider.h() ||
                    maps[0].w != decider.w() ||
                    (valid.size() && valid.size() != decider.h() * decider.w()))
                    throw py::value_error("[decide] expected one picture of the plan's grid.");
                const uint8_t* counts = valid.size() ? valid.data() : nullptr;
                PictureDecision decision;
                {
                    py::gil_scoped_release release;
                    decision = decider.decide(maps, counts, bar, exact);
                }
                return py::make_tuple(decision.status, decision.searched, decision.scored,
                                      decision.score, decision.winner);
            },
            py::arg("features"), py::arg("rows"), py::arg("columns"), py::arg("valid").noconvert(),
            py::arg("bar"), py::arg("exact"));
}

}  // namespace pyad::bindings
