// Decides whether a picture's score can exceed a limit, with as little search as that takes.
//
//   features   levels (1, C_l, h_l, w_l) float32, as for memory_bank_head.h
//   valid      (h, w) uint8 or null: patches that are 0 do not count
//   bar        the largest canonical squared distance that is within the limit
//
// The picture's score never exceeds that of its most distant patch: `maximum` is its squared
// distance, and `reweighted` multiplies the distance by a weight in [0, 1], rounding monotonically.
// So if every patch that counts has a bank row within the bar, the score is within the limit, and
// certificate.h proves it patch by patch. Patches that it leaves open are searched. If one of them
// lies beyond the bar, the first one of the largest distance is the picture's winner, for all
// others are nearer, and the score follows from it as memory_bank_head.h says, to the bit.
//
// `exact` asks for the score in any case. Where all patches are within the bar, the most distant of
// a few is searched, which bounds the largest distance from below, and the rest is certified
// against just below that: whatever stays open is searched and holds the winner.
//
// How: a piece is a strip of the patch grid; the thread that has it aggregates and certifies it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "pyad/certificate.h"
#include "pyad/memory_bank_head.h"

namespace pyad {

struct PictureDecision {
    HeadStatus status;
    int64_t searched;  // patches that went through the full search
    bool scored;       // whether `score` is there; if not, it is within the limit
    float score;
    int64_t winner;  // patch y w + x, where scored
};

class Decider {
  public:
    // Both must outlive this. They must be of the same bank.
    Decider(const MemoryBankHead& head, const Certificate& certificate);
    ~Decider();

    int64_t h() const { return certificate_.h(); }
    int64_t w() const { return certificate_.w(); }
    const AggregationPlan& plan() const { return head_.plan(); }

    // Safe to call from several threads at once. The grid must be the certificate's. Throws
    // std::invalid_argument where the bar is NaN.
    PictureDecision decide(const std::vector<FeatureMap>& features, const uint8_t* valid, float bar,
                           bool exact) const;

  private:
    struct Scratch;
    void certify(const std::vector<FeatureMap>* features, const uint8_t* valid, float bar,
                 Scratch& scratch) const;
    HeadStatus search(Scratch& scratch, PictureDecision& decision) const;

    const MemoryBankHead& head_;
    const Certificate& certificate_;
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Scratch>> idle_;
};

}  // namespace pyad
