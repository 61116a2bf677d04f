#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "arrays.h"
#include "pyad/convolution.h"

namespace pyad::bindings {
namespace {

using Network = ConvolutionNetwork;
// Height and width; strides; top, left, bottom, right.
using Numbers = std::array<int64_t, 8>;

Windows windows_of(const Numbers& n) { return {n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7]}; }

ConvolutionForm form_of(const std::string& name) {
    if (name == "automatic") return ConvolutionForm::automatic;
    if (name == "direct") return ConvolutionForm::direct;
    if (name == "winograd") return ConvolutionForm::winograd;
    throw py::value_error("[convolution] expected the form automatic, direct or winograd, got '" +
                          name + "'.");
}

int64_t convolution(Network& network, int64_t source, const Array<float>& weights,
                    const Array<float>& bias, const Numbers& windows, int64_t residual, float low,
                    float high, const std::string& form) {
    if (weights.ndim() != 4 || bias.ndim() != 1 || weights.shape(0) != bias.shape(0) ||
        weights.shape(1) != network.shape(source).C || weights.shape(2) != windows[0] ||
        weights.shape(3) != windows[1])
        throw py::value_error(
            "[convolution] expected weights (K, C, P, Q) and a bias (K) that fit.");
    const Windows w = windows_of(windows);
    const ConvolutionForm chosen = form_of(form);
    const int64_t K = weights.shape(0);
    const float *values = weights.data(), *added = bias.data();
    py::gil_scoped_release release;
    return network.convolution(source, values, added, K, w, residual, {low, high}, chosen);
}

std::array<int64_t, 3> shape_of(const Network& network, int64_t tensor) {
    const TensorShape& shape = network.shape(tensor);
    return {shape.C, shape.H, shape.W};
}

// A plan and the shapes that its arrays must have.
class Plan {
  public:
    Plan(const std::shared_ptr<Network>& network, const std::vector<int64_t>& outputs, int64_t N,
         int threads)
        : plan_(network, outputs, N, threads), N_(N), input_(network->shape(0)) {
        for (const int64_t output : outputs) outputs_.push_back(network->shape(output));
    }

    void run(const Array<float>& input, const std::vector<Array<float>>& outputs) {
        bool fits = has_shape(input, input_) && outputs.size() == outputs_.size();
        std::vector<float*> targets;
        for (size_t i = 0; fits && i < outputs.size(); ++i) {
            fits = has_shape(outputs[i], outputs_[i]) && outputs[i].writeable();
            if (fits) targets.push_back(const_cast<float*>(outputs[i].data()));
        }
        if (!fits)
            throw py::value_error("[convolution] expected arrays of the plan's input and outputs.");
        const float* from = input.data();
        py::gil_scoped_release release;
        plan_.run(from, targets);
    }

    int64_t bytes() const { return plan_.bytes(); }

  private:
    bool has_shape(const Array<float>& array, const TensorShape& shape) const {
        return array.ndim() == 4 && array.shape(0) == N_ && array.shape(1) == shape.C &&
               array.shape(2) == shape.H && array.shape(3) == shape.W;
    }

    ConvolutionPlan plan_;
    int64_t N_;
    TensorShape input_;
    std::vector<TensorShape> outputs_;
};

}  // namespace

void register_convolution(py::module_& m) {
    py::class_<Network, std::shared_ptr<Network>>(m, "ConvolutionNetwork")
        .def(py::init<int64_t, int64_t, int64_t, bool>(), py::arg("C"), py::arg("H"), py::arg("W"),
             py::arg("bf16") = false)
        .def("convolution", &convolution, py::arg("source"), py::arg("weights").noconvert(),
             py::arg("bias").noconvert(), py::arg("windows"), py::arg("residual"), py::arg("low"),
             py::arg("high"), py::arg("form"))
        .def(
            "maximum",
            [](Network& network, int64_t source, const Numbers& windows) {
                return network.maximum(source, windows_of(windows));
            },
            py::arg("source"), py::arg("windows"))
        .def(
            "average",
            [](Network& network, int64_t source, const Numbers& windows, bool counts_padding) {
                return network.average(source, windows_of(windows), counts_padding);
            },
            py::arg("source"), py::arg("windows"), py::arg("counts_padding"))
        .def(
            "add",
            [](Network& network, int64_t a, int64_t b, float low, float high) {
                return network.add(a, b, {low, high});
            },
            py::arg("a"), py::arg("b"), py::arg("low"), py::arg("high"))
        .def("shape", &shape_of, py::arg("tensor"));
    py::class_<Plan>(m, "ConvolutionPlan")
        .def(py::init<const std::shared_ptr<Network>&, const std::vector<int64_t>&, int64_t, int>(),
             py::arg("network"), py::arg("outputs"), py::arg("N"), py::arg("threads"))
        .def("run", &Plan::run, py::arg("input").noconvert(), py::arg("outputs").noconvert())
        .def_property_readonly("bytes", &Plan::bytes);
}

}  // namespace pyad::bindings
