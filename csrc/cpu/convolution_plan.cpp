#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "convolution_layout.h"
#include "pyad/parallel.h"

namespace pyad {
namespace {

void wait_for(const std::atomic<int64_t>& count, int64_t wanted) {
    for (int spins = 0; count.load(std::memory_order_acquire) < wanted; ++spins)
        if (spins > 1000) std::this_thread::yield();
}

// Counts a piece as done when it goes out of scope, however that happens.
class Done {
  public:
    explicit Done(std::atomic<int64_t>& count) : count_(count) {}
    ~Done() { count_.fetch_add(1, std::memory_order_release); }
    Done(const Done&) = delete;
    Done& operator=(const Done&) = delete;

  private:
    std::atomic<int64_t>& count_;
};

using Step = ConvolutionNetwork::Step;
using Kind = ConvolutionNetwork::Kind;

}  // namespace

// Works by stages: those of one stage depend on earlier stages only. All stages are one
// parallel_for, because waking a thread takes longer than many of them do; pieces are begun in
// order, so whoever waits for an earlier stage waits for threads that are at work on it.
class ConvolutionSchedule {
  public:
    ConvolutionSchedule(std::shared_ptr<const ConvolutionNetwork> network,
                        std::vector<int64_t> outputs, int64_t N, int threads)
        : network_(checked(std::move(network))),
          wanted_(std::move(outputs)),
          N_(N),
          threads_(threads),
          layouts_(network_->tensors()),
          scratch_(network_->steps().size()),
          outputs_(wanted_.size()) {
        if (N < 1 || N > 65536 || threads < 1 || threads > 1024)
            throw std::invalid_argument(
                "[convolution] expected 1 to 65536 pictures and 1 to 1024 threads, got " +
                std::to_string(N) + " and " + std::to_string(threads) + ".");
        for (const int64_t tensor : wanted_) network_->shape(tensor);  // refuses what is not there
        for (int64_t t = 0; t < network_->tensors(); ++t) layouts_[t].shape = network_->shape(t);
        lay_out();
        schedule();
        assign();
    }

    void run(const float* input, const std::vector<float*>& outputs) {
        input_ = input;
        std::copy(outputs.begin(), outputs.end(), outputs_.begin());
        std::atomic<int64_t> begun{0}, done{0};
        parallel_for(threads_, 1, [&](int64_t, int64_t) {
            auto entry = entries_.begin();
            for (;;) {
                const int64_t i = begun.fetch_add(1);
                while (entry != entries_.end() && i >= entry->first + entry->work.pieces) ++entry;
                if (entry == entries_.end()) return;
                wait_for(done, entry->after);
                const Done counted(done);
                entry->work.run(i - entry->first);
            }
        });
    }

    int64_t outputs() const { return static_cast<int64_t>(wanted_.size()); }
    int64_t bytes() const { return static_cast<int64_t>(memory_.size() * sizeof(float)); }

  private:
    // Piece `first` of all is this work's first; it waits until `after` pieces are done.
    struct Entry {
        Work work;
        int64_t first, after;
    };

    static std::shared_ptr<const ConvolutionNetwork> checked(
        std::shared_ptr<const ConvolutionNetwork> network) {
        if (!network) throw std::invalid_argument("[convolution] expected a network, got none.");
        return network;
    }

    void lay_out() {
        planes_.shape = network_->shape(0);
        planes_.unit = 1;
        for (const Step& step : network_->steps())
            source_of(step).border.include(border_of(step, network_->shape(step.source),
                                                     network_->shape(step.target),
                                                     network_->kernels(step.bf16).tile));
        for (Layout& layout : layouts_) layout.lay_out(N_);
        planes_.lay_out(N_);
    }

    Layout& source_of(const Step& step) { return step.planes ? planes_ : layouts_[step.source]; }

    // Stages of works; lifetimes of what they read and write.
    void schedule() {
        std::vector<int64_t> made(network_->tensors(), 0);  // in which stage
        bool blocked = std::count(wanted_.begin(), wanted_.end(), 0) > 0, planes = false;
        for (const Step& step : network_->steps()) {
            planes |= step.planes;
            blocked |= (step.source == 0 && !step.planes) || step.other == 0;
        }
        if (planes) begin(planes_, 0);
        if (blocked) begin(layouts_[0], 0);
        if (planes) put(0, import_work(planes_, N_, base_, input_));
        if (blocked) put(0, import_work(layouts_[0], N_, base_, input_));
        for (size_t s = 0; s < network_->steps().size(); ++s) {
            const bool pooled = pools_at_once(s);
            const Step &step = network_->steps()[s], &last_step = network_->steps()[s + pooled];
            Layout &in = source_of(step), &out = layouts_[last_step.target];
            Layout* other = step.other < 0 ? nullptr : &layouts_[step.other];
            int64_t stage = made[step.source] + 1;
            if (other) stage = std::max(stage, made[step.other] + 1);
            std::vector<Work> works =
                pooled ? pooled_works(plan_of(s), plan_of(s + 1)) : works_of(plan_of(s));
            const int64_t last = stage + static_cast<int64_t>(works.size()) - 1;
            for (Layout* read : {&in, other})
                if (read) read->region.end = std::max(read->region.end, last);
            begin(out, stage);
            out.region.end = last;
            scratch_[s].begin = stage;
            scratch_[s].end = last;
            for (size_t i = 0; i < works.size(); ++i)
                put(stage + static_cast<int64_t>(i), std::move(works[i]));
            made[last_step.target] = last;
            s += pooled;
        }
        for (size_t i = 0; i < wanted_.size(); ++i) {
            Layout& layout = layouts_[wanted_[i]];
            const int64_t stage = made[wanted_[i]] + 1;
            layout.region.end = std::max(layout.region.end, stage);
            put(stage, export_work(layout, N_, base_, outputs_[i]));
        }
    }

    StepPlan plan_of(size_t s) {
        const Step& step = network_->steps()[s];
        return {step,
                network_->kernels(step.bf16),
                source_of(step),
                layouts_[step.target],
                step.other < 0 ? nullptr : &layouts_[step.other],
                N_,
                threads_,
                base_,
                scratch_[s]};
    }

    // Whether step s is a convolution that only the maximum pool behind it reads: rows are pooled
    // while they are in the cache, and the convolved picture is never written.
    bool pools_at_once(size_t s) const {
        const std::vector<Step>& steps = network_->steps();
        if (s + 1 == steps.size() || steps[s].kind != Kind::convolution || steps[s].winograd ||
            steps[s + 1].kind != Kind::maximum || steps[s + 1].source != steps[s].target)
            return false;
        const int64_t tensor = steps[s].target;
        const auto reads = [tensor](const Step& step) {
            return step.source == tensor || step.other == tensor;
        };
        return std::count_if(steps.begin(), steps.end(), reads) == 1 &&
               std::count(wanted_.begin(), wanted_.end(), tensor) == 0;
    }

    // A tensor's memory is used from this stage on.
    void begin(Layout& layout, int64_t stage) {
        layout.region.begin = layout.region.end = stage;
        regions_.push_back(&layout.region);
        const Border& b = layout.border;
        if (b.top + b.left + b.bottom + b.right > 0) put(stage, border_work(layout, N_, base_));
    }

    static std::vector<Work> works_of(const StepPlan& plan) {
        if (plan.step.kind == Kind::add) return add_works(plan);
        if (plan.step.kind != Kind::convolution) return pool_works(plan);
        return plan.step.winograd ? winograd_works(plan) : direct_works(plan);
    }

    void put(int64_t stage, Work work) {
        if (stage >= static_cast<int64_t>(stages_.size())) stages_.resize(stage + 1);
        stages_[stage].push_back(std::move(work));
    }

    // Numbers all pieces and gives everything its place in memory.
    void assign() {
        int64_t pieces = 0;
        for (std::vector<Work>& stage : stages_) {
            const int64_t before = pieces;
            for (Work& work : stage) {
                const int64_t count = work.pieces;
                entries_.push_back({std::move(work), pieces, before});
                pieces += count;
            }
        }
        stages_.clear();
        for (Region& region : scratch_)
            if (region.size > 0) regions_.push_back(&region);
        memory_.resize(place(regions_));
        base_ = memory_.data();
    }

    const std::shared_ptr<const ConvolutionNetwork> network_;
    const std::vector<int64_t> wanted_;
    const int64_t N_;
    const int threads_;
    std::vector<Layout> layouts_;
    Layout planes_;                // the input, a plane per channel
    std::vector<Region> scratch_;  // of each step
    std::vector<Region*> regions_;
    std::vector<std::vector<Work>> stages_;
    std::vector<Entry> entries_;
    AlignedVector<float> memory_;
    float* base_ = nullptr;
    const float* input_ = nullptr;
    std::vector<float*> outputs_;
};

ConvolutionPlan::ConvolutionPlan(std::shared_ptr<const ConvolutionNetwork> network,
                                 std::vector<int64_t> outputs, int64_t N, int threads)
    : schedule_(std::make_unique<ConvolutionSchedule>(std::move(network), std::move(outputs), N,
                                                      threads)) {}

ConvolutionPlan::~ConvolutionPlan() = default;

void ConvolutionPlan::run(const float* input, const std::vector<float*>& outputs) {
    if (static_cast<int64_t>(outputs.size()) != schedule_->outputs())
        throw std::invalid_argument("[convolution] expected an array for each output.");
    schedule_->run(input, outputs);
}

int64_t ConvolutionPlan::bytes() const { return schedule_->bytes(); }

}  // namespace pyad
