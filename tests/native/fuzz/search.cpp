// nearest_neighbors.h with contraction.h, packed_rows.h and quantized_rows.h inside it, and
// rerank.h.
#include <cmath>

#include "parts.h"
#include "pyad/nearest_neighbors.h"
#include "pyad/rerank.h"
#include "target.h"

using fuzz::Bytes;
using fuzz::Exact;

// pyad_edge/ops/nearest_neighbors.py checks that rows and queries are finite, M >= 1 and 1 <= k <=
// M.
PYAD_FUZZ(memory_bank) {
    int64_t M = bytes.size(1, 160), D = bytes.size(1, 160);
    if (bytes.one_in(32)) {  // around the limits of the screens
        const int64_t limits[] = {pyad::kQuantizedDim, pyad::kBfloat16Dim};
        D = limits[bytes.below(2)] + bytes.within(-2, 2);
        M = bytes.within(1, 3);
    }
    const auto bank = fuzz::memory_bank(bytes, M, D);
    fuzz::expect(bank->size() == M && bank->dim() == D, "a bank's shape");
    const int64_t Q = D > 1000 ? bytes.below(4) : bytes.size(0, 60), k = bytes.size(1, M);
    const Exact<float> queries = bytes.floats(Q * D, !bytes.one_in(16));
    fuzz::require(pyad::all_finite(queries.data(), Q * D), "finite queries");
    Exact<float> distances(Q * k, bytes.below(16)), again(Q * k);
    Exact<int64_t> indices(Q * k), same(Q * k), evaluated(Q);
    bank->search(queries.data(), Q, k, distances.data(), indices.data(),
                 bytes.one_in(2) ? evaluated.data() : nullptr);
    bank->search_here(queries.data(), Q, k, again.data(), same.data());
    for (int64_t i = 0; i < Q * k; ++i) {
        fuzz::expect(indices[i] >= 0 && indices[i] < M, "a row of the bank");
        fuzz::expect(indices[i] == same[i] && distances[i] == again[i], "two ways, one result");
        fuzz::expect(distances[i] == bank->distance(queries.data() + i / k * D, indices[i]),
                     "the distance of that row");
        fuzz::expect(i % k == 0 || distances[i - 1] <= distances[i], "ascending distances");
    }
}

// No check is needed: any number of any values.
PYAD_FUZZ(finite) {
    const int64_t n = bytes.size(0, 2000);
    const Exact<float> values = bytes.floats(n), others = bytes.floats(n);
    bool finite = true;
    for (int64_t i = 0; i < n; ++i) finite = finite && std::isfinite(values[i]);
    fuzz::expect(pyad::all_finite(values.data(), n) == finite, "what is finite");
    const float distance = pyad::canonical_distance(values.data(), others.data(), n);
    fuzz::expect(!(distance < 0.0f), "a squared distance");
    constexpr pyad::Screen screens[] = {pyad::Screen::automatic, pyad::Screen::float32,
                                        pyad::Screen::bfloat16, pyad::Screen::int8};
    pyad::chosen_screen(screens[bytes.below(4)], bytes.hostile());
}

// pyad_edge/ops/rerank.py checks shapes, k, candidates and that queries are finite; rows may be
// NaN.
PYAD_FUZZ(rerank) {
    const int64_t Q = bytes.size(0, 40), D = bytes.size(1, 160), M = bytes.size(1, 100);
    const int64_t c = bytes.size(1, 60), k = bytes.within(1, c);
    const Exact<float> queries = bytes.floats(Q * D, true), rows = bytes.floats(M * D);
    const Exact<int64_t> candidates = bytes.wholes<int64_t>(Q * c, -1, M - 1, true);
    for (int64_t i = 0; i < Q * c; ++i)
        fuzz::require(candidates[i] >= -1 && candidates[i] < M, "candidates of the bank");
    Exact<float> distances(Q * k, bytes.below(16));
    Exact<int64_t> indices(Q * k);
    pyad::rerank(queries.data(), Q, D, rows.data(), candidates.data(), c, k, distances.data(),
                 indices.data());
    for (int64_t i = 0; i < Q * k; ++i)
        fuzz::expect(indices[i] >= -1 && indices[i] < M, "a row of the bank");
}
