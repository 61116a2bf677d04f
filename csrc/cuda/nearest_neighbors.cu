#include <stdexcept>
#include <string>

#include "pyad/cuda/device.h"
#include "pyad/cuda/nearest_neighbors.h"
#include "search_choice.h"
#include "search_sequence.cuh"

namespace pyad::cuda {
namespace {

auto runner(void* stream) {
    return [stream](const auto& program, Grid grid) {
        launch("nearest_neighbors", program, grid, stream);
    };
}

bool is_fused(SearchForm form) {
    return form == SearchForm::half_fused || form == SearchForm::bytes_fused;
}
bool is_half(SearchForm form) {
    return form == SearchForm::half_fused || form == SearchForm::half_gemm;
}

}  // namespace

MemoryBank::MemoryBank(const float* rows, int64_t M, int64_t D, bool bytes, void* stream)
    : M_(M), D_(D), device_(current_device()), capability_(device_traits().capability) {
    const int64_t padded = round_up_to(M, kTile);
    const bool fits = D <= kSearchDim;
    int32_t* huge = nullptr;
    const auto lay_out = [&](void* base) {
        Pieces pieces(base);
        rows_ = pieces.take<float>(M * D);
        mean_ = pieces.take<float>(D);
        huge = pieces.take<int32_t>(1);
        if (fits) {
            half_ = pieces.take<unsigned char>(padded * screen_pitch<HalfKind>(D));
            half_terms_ = pieces.take<RowTerms>(padded);
        }
        if (fits && bytes) {
            bytes_ = pieces.take<unsigned char>(padded * screen_pitch<ByteKind>(D));
            bytes_terms_ = pieces.take<RowTerms>(padded);
        }
        return pieces.used();
    };
    memory_ = allocate(lay_out(nullptr));
    try {
        lay_out(memory_);
        const auto run = runner(stream);
        const CopyFloats copy{rows, rows_, M * D};
        run(copy, copy.grid());
        fill_bytes(huge, 0, sizeof(int32_t), stream);
        if (fits) {
            prepare_mean(rows_, M, D, mean_, run);
            prepare_rows<HalfKind>(rows_, M, D, mean_, static_cast<unsigned char*>(half_),
                                   static_cast<RowTerms*>(half_terms_), huge, run);
            if (bytes)
                prepare_rows<ByteKind>(rows_, M, D, mean_, static_cast<unsigned char*>(bytes_),
                                       static_cast<RowTerms*>(bytes_terms_), huge, run);
        }
        int32_t is_huge = 0;
        copy_to_host(&is_huge, huge, sizeof is_huge, stream);
        screened_ = fits && is_huge == 0;
    } catch (...) {
        release(memory_);
        throw;
    }
}

MemoryBank::~MemoryBank() { release(memory_); }

void MemoryBank::require_device() const {
    const int current = current_device();
    if (current == device_) return;
    throw std::invalid_argument("[nearest_neighbors] the bank lies on device " +
                                std::to_string(device_) + ", but device " +
                                std::to_string(current) +
                                " is the current one. Make the bank's device the current one, or "
                                "make a bank on this one.");
}

SearchForm MemoryBank::choose(int64_t Q) const {
    require_device();
    const SearchForm form = choose_search(capability_, Q, M_, D_);
    if (!screened_) return SearchForm::exact;
    if (has_bytes() || is_half(form)) return form;
    return form == SearchForm::bytes_fused  ? SearchForm::half_fused
           : form == SearchForm::bytes_gemm ? SearchForm::half_gemm
                                            : form;
}

size_t MemoryBank::workspace_size(int64_t Q, int64_t k, SearchForm form) const {
    require_device();
    if (form == SearchForm::exact) return 0;
    return is_half(form) ? search_memory<HalfKind>(nullptr, Q, M_, D_, k, is_fused(form)).bytes
                         : search_memory<ByteKind>(nullptr, Q, M_, D_, k, is_fused(form)).bytes;
}

void MemoryBank::search(const float* queries, int64_t Q, int64_t k, SearchForm form,
                        void* workspace, float* distances, int64_t* indices, void* stream) const {
    require_device();
    if (Q == 0) return;
    const bool half = is_half(form);
    const SearchInput in{queries,
                         rows_,
                         mean_,
                         {static_cast<const unsigned char*>(half ? half_ : bytes_),
                          static_cast<const RowTerms*>(half ? half_terms_ : bytes_terms_)},
                         Q,
                         M_,
                         D_,
                         k,
                         distances,
                         indices};
    const auto run = runner(stream);
    if (form == SearchForm::exact)
        search_exactly(in, run);
    else if (half)
        search_screened<HalfKind>(in, is_fused(form), workspace, run);
    else
        search_screened<ByteKind>(in, is_fused(form), workspace, run);
}

}  // namespace pyad::cuda
