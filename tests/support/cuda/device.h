// State of the device that is not there, shared by its runtime and its libraries.
#pragma once
#include <cuda_runtime_api.h>

#include <map>
#include <mutex>
#include <set>
#include <string>

#define API extern "C" __attribute__((visibility("default")))

struct Stream;

// A capture that is underway: what it holds, and streams with work that its first one has not
// waited for.
struct Capture {
  unsigned long long id;
  cudaStreamCaptureMode mode;
  pthread_t thread;
  Stream* origin;
  std::set<Stream*> members;
  std::map<Stream*, unsigned long long> unjoined;
  size_t nodes = 0;
  bool invalid = false;
};

struct Stream {
  Capture* capture = nullptr;
  unsigned long long queued = 0;
};

using Lock = std::lock_guard<std::recursive_mutex>;
extern std::recursive_mutex device_mutex;

Stream* stream_of(cudaStream_t stream);

// Refuse a call that waits for the device or changes its memory while a capture is underway.
cudaError_t refuse_in_capture(const char* call);

// Queue a kernel or a copy: it becomes a node of the stream's capture, if there is one.
cudaError_t queue(cudaStream_t stream, const char* name);
cudaError_t queue_kernel(cudaStream_t stream, const char* name);
