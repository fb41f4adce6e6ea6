#pragma once
// view_of: a link's state as the value that routing sees. Pure. The id, and whether its name left the DNS
// answer, are the fleet's to add. Thread: as the link.

#include <chrono>

#include "coordinator/fleet/fleet_snapshot.h"
#include "coordinator/fleet/worker_link.h"

namespace leadline::coordinator {

WorkerView view_of(const WorkerLink& link, std::chrono::milliseconds step_stall);

}  // namespace leadline::coordinator
