// The CUDA runtime without a device, preloaded below PyTorch's own CUDA code.
//
// Kernels do nothing. Memory is reserved address space: what the host has written since the last
// kernel is read back, everything else reads as zero. Streams, events and stream capture follow
// CUDA's rules: what waits for the device, copies from pageable memory, allocates or uses a foreign
// stream in a capture fails as on a device, and is counted as a violation.
#include "device.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

using Ids = unsigned long long;

struct Event {
  Stream* stream = nullptr;
  Ids capture = 0, queued = 0;
};

struct Graph {
  size_t nodes;
};

struct Counts {
  Ids kernels, compiled, copies, memsets, waits, allocations, graph_launches, captured, violations;
};

std::recursive_mutex device_mutex;
static Stream default_stream;
static std::map<Ids, Capture*> captures;
static Ids captures_begun = 0;
static thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;
static thread_local cudaError_t last_error = cudaSuccess;

static const size_t MEMORY = 85ull << 30;
static size_t used = 0;
static std::map<uintptr_t, size_t> device_blocks, host_blocks;
static std::map<const void*, std::vector<char>> written;  // by the host since the last kernel

static Counts counts;
static std::vector<std::string> notes;

static cudaError_t fail(cudaError_t error) { return last_error = error; }

static void violation(const std::string& note) {
  counts.violations++;
  if (notes.size() < 20) notes.push_back(note);
}

static cudaError_t spoil(Capture* capture, cudaError_t error, const std::string& note) {
  violation(note);
  capture->invalid = true;
  return fail(error);
}

Stream* stream_of(cudaStream_t stream) {
  bool standard = !stream || stream == cudaStreamLegacy || stream == cudaStreamPerThread;
  return standard ? &default_stream : (Stream*)stream;
}

cudaError_t refuse_in_capture(const char* call) {
  if (thread_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  for (auto& [id, capture] : captures) {
    bool own = pthread_equal(capture->thread, pthread_self());
    if (capture->mode == cudaStreamCaptureModeGlobal ||
        (capture->mode == cudaStreamCaptureModeThreadLocal && own))
      return spoil(capture, cudaErrorStreamCaptureUnsupported, std::string(call) + " in a capture");
  }
  return cudaSuccess;
}

cudaError_t queue(cudaStream_t handle, const char* name) {
  Stream* stream = stream_of(handle);
  Capture* capture = stream->capture;
  stream->queued++;
  if (capture) {
    if (capture->invalid) return fail(cudaErrorStreamCaptureInvalidated);
    capture->nodes++;
    counts.captured++;
    if (stream != capture->origin) capture->unjoined[stream] = stream->queued;
  } else if (!captures.empty()) {
    violation(std::string("outside of the captured streams: ") + name);
  }
  return cudaSuccess;
}

cudaError_t queue_kernel(cudaStream_t stream, const char* name) {
  if (auto error = queue(stream, name)) return error;
  counts.kernels++;
  written.clear();
  return cudaSuccess;
}

// ---- what tests read

API void standin_reset() {
  Lock lock(device_mutex);
  counts = Counts();
  notes.clear();
}

API const char* standin_counts() {
  static std::string text;
  Lock lock(device_mutex);
  char numbers[512];
  snprintf(numbers, sizeof numbers,
           "{\"kernels\":%llu,\"compiled\":%llu,\"copies\":%llu,\"memsets\":%llu,\"waits\":%llu,"
           "\"allocations\":%llu,\"graph_launches\":%llu,\"captured\":%llu,\"violations\":%llu,"
           "\"notes\":[",
           counts.kernels, counts.compiled, counts.copies, counts.memsets, counts.waits,
           counts.allocations, counts.graph_launches, counts.captured, counts.violations);
  text = numbers;
  for (size_t index = 0; index < notes.size(); index++)
    text += (index ? ",\"" : "\"") + notes[index] + "\"";
  text += "]}";
  return text.c_str();
}

// ---- memory

static void* reserve(size_t size) {
  void* place = mmap(nullptr, size ? size : 1, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return place == MAP_FAILED ? nullptr : place;
}

static bool inside(const std::map<uintptr_t, size_t>& blocks, const void* pointer) {
  auto block = blocks.upper_bound((uintptr_t)pointer);
  if (block == blocks.begin()) return false;
  --block;
  return (uintptr_t)pointer < block->first + block->second;
}

API cudaError_t cudaMalloc(void** place, size_t size) {
  Lock lock(device_mutex);
  *place = nullptr;
  if (auto error = refuse_in_capture("cudaMalloc")) return error;
  if (used + size > MEMORY || !(*place = reserve(size))) return fail(cudaErrorMemoryAllocation);
  device_blocks[(uintptr_t)*place] = size;
  used += size;
  counts.allocations++;
  return cudaSuccess;
}

API cudaError_t cudaFree(void* place) {
  Lock lock(device_mutex);
  if (!place) return cudaSuccess;
  if (auto error = refuse_in_capture("cudaFree")) return error;
  auto block = device_blocks.find((uintptr_t)place);
  if (block == device_blocks.end()) return fail(cudaErrorInvalidValue);
  munmap(place, block->second ? block->second : 1);
  used -= block->second;
  device_blocks.erase(block);
  return cudaSuccess;
}

API cudaError_t cudaHostAlloc(void** place, size_t size, unsigned) {
  Lock lock(device_mutex);
  if (auto error = refuse_in_capture("cudaHostAlloc")) return error;
  host_blocks[(uintptr_t)(*place = reserve(size))] = size;
  return cudaSuccess;
}

API cudaError_t cudaFreeHost(void* place) {
  Lock lock(device_mutex);
  auto block = host_blocks.find((uintptr_t)place);
  if (block == host_blocks.end()) return cudaSuccess;
  munmap(place, block->second);
  host_blocks.erase(block);
  return cudaSuccess;
}

API cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = MEMORY - used;
  *total = MEMORY;
  return cudaSuccess;
}

API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* found, const void* pointer) {
  Lock lock(device_mutex);
  memset(found, 0, sizeof *found);
  found->type = inside(device_blocks, pointer) ? cudaMemoryTypeDevice
                : inside(host_blocks, pointer) ? cudaMemoryTypeHost
                                               : cudaMemoryTypeUnregistered;
  if (found->type == cudaMemoryTypeDevice) found->devicePointer = (void*)pointer;
  if (found->type == cudaMemoryTypeHost) found->hostPointer = (void*)pointer;
  return cudaSuccess;
}

static cudaError_t copy(void* target, const void* source, size_t size, cudaStream_t stream) {
  bool to_device = inside(device_blocks, target), from_device = inside(device_blocks, source);
  bool pinned = (to_device || inside(host_blocks, target)) &&
                (from_device || inside(host_blocks, source));
  Capture* capture = stream_of(stream)->capture;
  if (capture && !pinned)
    return spoil(capture, cudaErrorStreamCaptureUnsupported, "a copy of pageable memory");
  if (auto error = queue(stream, "copy")) return error;
  counts.copies++;
  if (capture) return cudaSuccess;
  if (to_device && from_device) {
    written.clear();
  } else if (to_device) {
    if (size <= 64) written[target].assign((const char*)source, (const char*)source + size);
  } else {
    auto known = written.find(source);
    if (known != written.end() && known->second.size() >= size)
      memcpy(target, known->second.data(), size);
    else
      memset(target, 0, size);
  }
  return cudaSuccess;
}

API cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t size, cudaMemcpyKind,
                                cudaStream_t stream) {
  Lock lock(device_mutex);
  return copy(target, source, size, stream);
}

API cudaError_t cudaMemcpy(void* target, const void* source, size_t size, cudaMemcpyKind) {
  Lock lock(device_mutex);
  if (auto error = refuse_in_capture("cudaMemcpy")) return error;
  return copy(target, source, size, nullptr);
}

API cudaError_t cudaMemsetAsync(void*, int, size_t, cudaStream_t stream) {
  Lock lock(device_mutex);
  counts.memsets++;
  written.clear();
  return queue(stream, "memset");
}

// ---- the device: one H100

API cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
API cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
API cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : fail(cudaErrorInvalidDevice);
}
API cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }
API cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }
API cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return cudaSuccess;
}
API cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) { return *can = 0, cudaSuccess; }

API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* found, int) {
  memset(found, 0, sizeof *found);
  strcpy(found->name, "stand-in for an H100");
  found->major = 9;
  found->totalGlobalMem = MEMORY;
  found->multiProcessorCount = 132;
  found->maxThreadsPerMultiProcessor = 2048;
  found->maxBlocksPerMultiProcessor = 32;
  found->warpSize = 32;
  found->maxThreadsPerBlock = found->maxThreadsDim[0] = found->maxThreadsDim[1] = 1024;
  found->maxThreadsDim[2] = 64;
  found->maxGridSize[0] = 2147483647;
  found->maxGridSize[1] = found->maxGridSize[2] = 65535;
  found->regsPerBlock = found->regsPerMultiprocessor = found->totalConstMem = 65536;
  found->sharedMemPerBlock = 49152;
  found->sharedMemPerBlockOptin = 232448;
  found->sharedMemPerMultiprocessor = 233472;
  found->l2CacheSize = 50 << 20;
  found->textureAlignment = 512;
  return cudaSuccess;
}

API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name, int) {
  cudaDeviceProp device;
  cudaGetDeviceProperties(&device, 0);
  const std::map<int, int> values = {
      {cudaDevAttrComputeCapabilityMajor, device.major},
      {cudaDevAttrMultiProcessorCount, device.multiProcessorCount},
      {cudaDevAttrMaxThreadsPerMultiProcessor, device.maxThreadsPerMultiProcessor},
      {cudaDevAttrMaxBlocksPerMultiprocessor, device.maxBlocksPerMultiProcessor},
      {cudaDevAttrWarpSize, device.warpSize},
      {cudaDevAttrMaxThreadsPerBlock, device.maxThreadsPerBlock},
      {cudaDevAttrMaxBlockDimX, device.maxThreadsDim[0]},
      {cudaDevAttrMaxGridDimX, device.maxGridSize[0]},
      {cudaDevAttrMaxGridDimY, device.maxGridSize[1]},
      {cudaDevAttrMaxRegistersPerBlock, device.regsPerBlock},
      {cudaDevAttrMaxSharedMemoryPerBlock, (int)device.sharedMemPerBlock},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, (int)device.sharedMemPerBlockOptin},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor, (int)device.sharedMemPerMultiprocessor},
      {cudaDevAttrL2CacheSize, device.l2CacheSize},
  };
  auto known = values.find(name);
  *value = known == values.end() ? 0 : known->second;
  return cudaSuccess;
}

API cudaError_t cudaDeviceSynchronize() {
  Lock lock(device_mutex);
  counts.waits++;
  return refuse_in_capture("cudaDeviceSynchronize");
}

API cudaError_t cudaGetLastError() {
  auto error = last_error;
  last_error = cudaSuccess;
  return error;
}
API cudaError_t cudaPeekAtLastError() { return last_error; }
API const char* cudaGetErrorName(cudaError_t) { return "cudaError"; }
API const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    default: return "an error of the stand-in";
  }
}

// PyTorch asks the driver's functions by name; none of them is needed.
static int nothing(...) { return 0; }
API cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** function, unsigned, Ids,
                                                 cudaDriverEntryPointQueryResult* found) {
  *function = (void*)nothing;
  if (found) *found = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}

// ---- streams and events

API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = (cudaStream_t) new Stream;
  return cudaSuccess;
}
API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}
API cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
API cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) {
  return *priority = 0, cudaSuccess;
}
API cudaError_t cudaStreamQuery(cudaStream_t stream) {
  Lock lock(device_mutex);
  Capture* capture = stream_of(stream)->capture;
  return capture ? spoil(capture, cudaErrorStreamCaptureUnsupported, "cudaStreamQuery in a capture")
                 : cudaSuccess;
}
API cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Lock lock(device_mutex);
  counts.waits++;
  Capture* capture = stream_of(stream)->capture;
  return capture ? spoil(capture, cudaErrorStreamCaptureUnsupported, "a wait in a capture")
                 : cudaSuccess;
}
API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = (cudaEvent_t) new Event;
  return cudaSuccess;
}
API cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
API cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete (Event*)event;
  return cudaSuccess;
}
API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  Lock lock(device_mutex);
  Stream* stream = stream_of(handle);
  *(Event*)event = Event{stream, stream->capture ? stream->capture->id : 0, stream->queued};
  return cudaSuccess;
}
API cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}
API cudaError_t cudaEventQuery(cudaEvent_t event) {
  Lock lock(device_mutex);
  auto capture = captures.find(((Event*)event)->capture);
  if (capture != captures.end())
    return spoil(capture->second, cudaErrorCapturedEvent, "a query of a captured event");
  return refuse_in_capture("cudaEventQuery");
}
API cudaError_t cudaEventSynchronize(cudaEvent_t) {
  Lock lock(device_mutex);
  counts.waits++;
  return refuse_in_capture("cudaEventSynchronize");
}
API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  return *milliseconds = 1, cudaSuccess;
}

API cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t awaited, unsigned) {
  Lock lock(device_mutex);
  Stream* stream = stream_of(handle);
  auto& event = *(Event*)awaited;
  if (!event.stream) return cudaSuccess;
  if (Capture* capture = stream->capture) {
    if (event.capture != capture->id)
      return spoil(capture, cudaErrorStreamCaptureIsolation, "a wait for uncaptured work");
    auto work = capture->unjoined.find(event.stream);
    bool joins = work != capture->unjoined.end() && event.queued >= work->second;
    if (joins && stream == capture->origin) capture->unjoined.erase(work);
    stream->queued++;
    if (stream != capture->origin) capture->unjoined[stream] = stream->queued;
  } else if (captures.count(event.capture)) {
    stream->capture = captures[event.capture];
    stream->capture->members.insert(stream);
    stream->capture->unjoined[stream] = ++stream->queued;
    if (stream == &default_stream) violation("the default stream joins a capture");
  }
  return cudaSuccess;
}

// ---- captures and graphs

API cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(thread_mode, *mode);
  return cudaSuccess;
}

static cudaStreamCaptureStatus status_of(Capture* capture) {
  return !capture           ? cudaStreamCaptureStatusNone
         : capture->invalid ? cudaStreamCaptureStatusInvalidated
                            : cudaStreamCaptureStatusActive;
}
API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  Lock lock(device_mutex);
  *status = status_of(stream_of(stream)->capture);
  return cudaSuccess;
}
API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                         Ids* id, cudaGraph_t* graph,
                                         const cudaGraphNode_t** dependencies,
                                         const cudaGraphEdgeData** edges, size_t* count) {
  static cudaGraphNode_t none[1];
  Lock lock(device_mutex);
  Capture* capture = stream_of(stream)->capture;
  *status = status_of(capture);
  if (capture && id) *id = capture->id;
  if (graph) *graph = (cudaGraph_t)capture;
  if (dependencies) *dependencies = none;
  if (edges) *edges = nullptr;
  if (count) *count = 0;
  return cudaSuccess;
}

API cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  Lock lock(device_mutex);
  Stream* stream = stream_of(handle);
  if (stream == &default_stream || stream->capture) return fail(cudaErrorStreamCaptureUnsupported);
  stream->capture = new Capture{++captures_begun, mode, pthread_self(), stream, {stream}};
  captures[captures_begun] = stream->capture;
  return cudaSuccess;
}
API cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  Lock lock(device_mutex);
  Capture* capture = stream_of(handle)->capture;
  *graph = nullptr;
  if (!capture) return fail(cudaErrorIllegalState);
  for (Stream* member : capture->members) member->capture = nullptr;
  captures.erase(capture->id);
  if (capture->invalid) return fail(cudaErrorStreamCaptureInvalidated);
  if (!capture->unjoined.empty()) {
    violation("a capture ends before all of its work");
    return fail(cudaErrorStreamCaptureUnjoined);
  }
  *graph = (cudaGraph_t) new Graph{capture->nodes};
  return cudaSuccess;
}
API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* graph, cudaGraph_t captured, Ids) {
  *graph = (cudaGraphExec_t)captured;
  return cudaSuccess;
}
API cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t stream) {
  Lock lock(device_mutex);
  counts.graph_launches++;
  written.clear();
  return queue(stream, "graph");
}
API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  return *count = ((Graph*)graph)->nodes, cudaSuccess;
}
API cudaError_t cudaGraphDestroy(cudaGraph_t) { return cudaSuccess; }
API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return cudaSuccess; }

// ---- kernels, as compiled code registers and launches them

struct Launch {
  dim3 grid, block;
  size_t memory;
  cudaStream_t stream;
};
static thread_local std::vector<Launch> launches;
static std::map<const void*, const char*> kernel_names;

API void** __cudaRegisterFatBinary(void*) {
  static void* handle;
  return &handle;
}
API void __cudaRegisterFatBinaryEnd(void**) {}
API void __cudaUnregisterFatBinary(void**) {}
API void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
API void __cudaRegisterManagedVar(void**, void**, char*, const char*, int, size_t, int, int) {}
API void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int, uint3*,
                                uint3*, dim3*, dim3*, int*) {
  Lock lock(device_mutex);
  kernel_names[function] = name;
}
API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t memory,
                                         cudaStream_t stream) {
  launches.push_back({grid, block, memory, stream});
  return 0;
}
API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* memory, void* stream) {
  Launch launch = launches.back();
  launches.pop_back();
  *grid = launch.grid;
  *block = launch.block;
  *memory = launch.memory;
  *(cudaStream_t*)stream = launch.stream;
  return cudaSuccess;
}
API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = (cudaKernel_t)function;
  return cudaSuccess;
}
API cudaError_t cudaLaunchKernel(const void* function, dim3, dim3, void**, size_t,
                                 cudaStream_t stream) {
  Lock lock(device_mutex);
  auto name = kernel_names.find(function);
  return queue_kernel(stream, name == kernel_names.end() ? "a kernel" : name->second);
}
API cudaError_t standin_launch(cudaStream_t stream, const char* name) {
  Lock lock(device_mutex);
  if (auto error = queue_kernel(stream, name)) return error;
  counts.compiled++;
  return cudaSuccess;
}
API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                                   size_t memory, cudaStream_t stream) {
  return cudaLaunchKernel((const void*)kernel, grid, block, arguments, memory, stream);
}
API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function,
                                    void** arguments) {
  return cudaLaunchKernel(function, {}, {}, arguments, 0, config->stream);
}
API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* found, const void*) {
  memset(found, 0, sizeof *found);
  found->maxThreadsPerBlock = 1024;
  found->numRegs = 32;
  found->ptxVersion = found->binaryVersion = 90;
  found->maxDynamicSharedSizeBytes = 232448;
  return cudaSuccess;
}
API cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*,
                                                                       int threads, size_t,
                                                                       unsigned) {
  *blocks = threads && threads < 2048 ? 2048 / threads : 1;
  return cudaSuccess;
}
