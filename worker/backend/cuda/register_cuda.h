#pragma once
// Makes the CUDA backend known to make_backend. Not in builds without the toolkit. Thread: main, once, at
// start.

namespace leadline::worker::cuda {

// GPU of a rank: --gpu, LEADLINE_GPU, or the rank's number on this host.
void register_cuda_backend();

}  // namespace leadline::worker::cuda
