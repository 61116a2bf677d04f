#include "picture_scores.cuh"

namespace pyad::cuda {

void picture_scores(const PictureScores& call, void* stream) {
    if (call.N == 0) return;
    const PictureScoresProgram program(call);
    launch("picture_scores", program, program.grid(), stream);
}

}  // namespace pyad::cuda
