// What the 32 threads of a warp do together, inside Block::for_each_warp. Included by block.h.
#pragma once

namespace pyad::cuda {

struct Warp {
    int index;        // within the block
    bool descending;  // host: order of the lanes

    // f(t) for every lane, t the thread's number in the block, then a barrier of the warp.
    template <typename F>
    PYAD_DEVICE void for_each_lane(const F& f) const {
#ifdef __CUDACC__
        f(static_cast<int>(threadIdx.x));
        __syncwarp();
#else
        for (int i = 0; i < kWarp; ++i) f(index * kWarp + (descending ? kWarp - 1 - i : i));
#endif
    }

    // values = each lane's value combined with that of lane ^ 16, ^ 8, ^ 4, ^ 2, ^ 1: with a
    // commutative `combine` every lane ends with the same bits. `values` is a PerLane or PerThread.
    template <typename Values, typename Combine>
    PYAD_DEVICE void reduce(Values& values, const Combine& combine) const {
        PYAD_UNROLL
        for (int mask = kWarp / 2; mask > 0; mask /= 2) exchange(values, mask, combine);
    }

    // values[t] = combine(values[t], values[t ^ mask]).
    template <typename Values, typename Combine>
    PYAD_DEVICE void exchange(Values& values, int mask, const Combine& combine) const {
        using T = std::decay_t<decltype(values[0])>;
        static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 4 == 0, "whole words");
#ifdef __CUDACC__
        T& mine = values[0];
        unsigned words[sizeof(T) / 4];
        memcpy(words, &mine, sizeof(T));
        PYAD_UNROLL
        for (size_t i = 0; i < sizeof(T) / 4; ++i)
            words[i] = __shfl_xor_sync(0xffffffffu, words[i], mask);
        T other;
        memcpy(&other, words, sizeof(T));
        mine = combine(mine, other);
#else
        T before[kWarp];
        const int first = index * kWarp;
        for (int lane = 0; lane < kWarp; ++lane) before[lane] = values[first + lane];
        for (int lane = 0; lane < kWarp; ++lane)
            values[first + lane] = combine(before[lane], before[lane ^ mask]);
#endif
    }

    // Bit `lane` of the result is set where flag(t) holds.
    template <typename F>
    PYAD_DEVICE uint32_t ballot(const F& flag) const {
#ifdef __CUDACC__
        return __ballot_sync(0xffffffffu, flag(static_cast<int>(threadIdx.x)));
#else
        uint32_t bits = 0;
        for (int lane = 0; lane < kWarp; ++lane)
            bits |= static_cast<uint32_t>(flag(index * kWarp + lane) ? 1 : 0) << lane;
        return bits;
#endif
    }

    // The value of one lane (the same number in all lanes), for all of them.
    template <typename Values>
    PYAD_DEVICE auto broadcast(const Values& values, int lane) const {
        using T = std::decay_t<decltype(values[0])>;
        static_assert(sizeof(T) == 4 || sizeof(T) == 8, "one or two words");
#ifdef __CUDACC__
        return __shfl_sync(0xffffffffu, values[0], lane);
#else
        const T value = values[index * kWarp + lane];
        return value;
#endif
    }
};

}  // namespace pyad::cuda
