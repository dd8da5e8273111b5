// cuBLAS and cuDNN: handles that queue kernels which do nothing, and workspaces of no bytes.
#include "device.h"

#include <cstdlib>
#include <cstring>

struct Handle {
  cudaStream_t stream = nullptr;
};

static int create(void** handle, const char* call) {
  Lock lock(device_mutex);
  if (refuse_in_capture(call)) return 1;
  *handle = new Handle;
  return 0;
}
static int set_stream(void* handle, cudaStream_t stream) {
  ((Handle*)handle)->stream = stream;
  return 0;
}
static int launch(cudaStream_t stream, const char* name) {
  Lock lock(device_mutex);
  return queue_kernel(stream, name) ? 13 : 0;
}

#define LAUNCH(name) \
  API int name(void* handle, ...) { return launch(((Handle*)handle)->stream, #name); }
#define DONE(name) API int name(...) { return 0; }
#define MAKE(name) API int name(void** made, ...) { return *made = calloc(1, 256), 0; }

// ---- cuBLAS

API int cublasCreate_v2(void** handle) { return create(handle, "cublasCreate"); }
API int cublasSetStream_v2(void* handle, cudaStream_t stream) { return set_stream(handle, stream); }
API int cublasGetMathMode(void*, int* mode) { return *mode = 0; }
API int cublasGetPointerMode_v2(void*, int* mode) { return *mode = 0; }
DONE(cublasDestroy_v2)
DONE(cublasSetWorkspace_v2)
DONE(cublasSetMathMode)
DONE(cublasSetPointerMode_v2)
LAUNCH(cublasSgemm_v2)
LAUNCH(cublasDgemm_v2)
LAUNCH(cublasGemmEx)
LAUNCH(cublasSgemmStridedBatched)
LAUNCH(cublasDgemmStridedBatched)
LAUNCH(cublasGemmStridedBatchedEx)
LAUNCH(cublasSgemv_v2)
LAUNCH(cublasDgemv_v2)
LAUNCH(cublasSdot_v2)
LAUNCH(cublasDdot_v2)

API size_t cublasLtGetVersion() { return 130100; }
MAKE(cublasLtMatmulDescCreate)
MAKE(cublasLtMatmulPreferenceCreate)
MAKE(cublasLtMatrixLayoutCreate)
DONE(cublasLtMatmulDescDestroy)
DONE(cublasLtMatmulDescSetAttribute)
DONE(cublasLtMatmulPreferenceDestroy)
DONE(cublasLtMatmulPreferenceSetAttribute)
DONE(cublasLtMatrixLayoutDestroy)
DONE(cublasLtMatrixLayoutSetAttribute)
API int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int,
                                       void* algorithm, int* found) {
  memset(algorithm, 0, 96);  // cublasLtMatmulHeuristicResult_t
  *found = 1;
  return 0;
}
API int cublasLtMatmul(void*, void*, const void*, const void*, void*, const void*, void*,
                       const void*, const void*, void*, void*, void*, const void*, void*, size_t,
                       cudaStream_t stream) {
  return launch(stream, "cublasLtMatmul");
}

// ---- cuDNN: BatchNorm by its own calls, convolutions by the graph API's descriptors

API int cudnnCreate(void** handle) { return create(handle, "cudnnCreate"); }
API int cudnnSetStream(void* handle, cudaStream_t stream) { return set_stream(handle, stream); }
API int cudnnGetStream(void* handle, cudaStream_t* stream) {
  return *stream = ((Handle*)handle)->stream, 0;
}
API void cudnnGetLastErrorString(char* text, size_t room) {
  if (room) *text = 0;
}
API const char* cudnnGetErrorString(int) { return "an error of the stand-in"; }
LAUNCH(cudnnBatchNormalizationForwardTrainingEx)
LAUNCH(cudnnBatchNormalizationBackwardEx)
LAUNCH(cudnnBatchNormalizationForwardInference)
MAKE(cudnnCreateTensorDescriptor)
DONE(cudnnDestroyTensorDescriptor)
DONE(cudnnSetTensorNdDescriptor)
API int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(void*, int, int, void*, void*,
                                                                 void*, void*, void*,
                                                                 size_t* size) {
  return *size = 0;
}
API int cudnnGetBatchNormalizationBackwardExWorkspaceSize(void*, int, int, void*, void*, void*,
                                                          void*, void*, void*, void*,
                                                          size_t* size) {
  return *size = 0;
}
API int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void*, int, int, void*, void*,
                                                             size_t* size) {
  return *size = 0;
}

enum { HEURISTIC_RESULTS = 202, KNOB_CHOICES = 302, WORKSPACE_SIZE = 402, PLAN_JSON = 405 };
enum { KNOB_INFO = 1302, NUMERICAL_NOTE = 1303, BEHAVIOR_NOTE = 1305 };
enum { INT64 = 3, DOUBLE = 5, HANDLE = 0, POINTER = 6, DESCRIPTOR = 15, CHAR = 24, BOOLEAN = 2 };

struct Attribute {
  std::string bytes;
  int64_t count;
};
using Descriptor = std::map<int, Attribute>;

static size_t width(int type) {
  switch (type) {
    case CHAR: return 1;
    case BOOLEAN: return sizeof(bool);
    case INT64: case DOUBLE: case HANDLE: case POINTER: case DESCRIPTOR: return 8;
    default: return 4;
  }
}

API int cudnnBackendCreateDescriptor(int, void** made) { return *made = new Descriptor, 0; }
API int cudnnBackendDestroyDescriptor(void* made) { return delete (Descriptor*)made, 0; }
DONE(cudnnBackendFinalize)
API int cudnnBackendSetAttribute(void* descriptor, int name, int type, int64_t count,
                                 const void* value) {
  std::string bytes((const char*)value, count * width(type));
  (*(Descriptor*)descriptor)[name] = {bytes, count};
  return 0;
}
API int cudnnBackendGetAttribute(void* descriptor, int name, int type, int64_t room, int64_t* count,
                                 void* value) {
  auto& attributes = *(Descriptor*)descriptor;
  auto known = attributes.find(name);
  std::string bytes(value && room ? width(type) : 0, '\0');
  int64_t found = 1;
  if (name == HEURISTIC_RESULTS) {
    bytes.clear();  // the one engine is the descriptor that was handed in
  } else if (known != attributes.end()) {
    bytes = known->second.bytes.substr(0, room * width(type));
    found = known->second.count;
  } else if (name == KNOB_CHOICES || name == KNOB_INFO || name == NUMERICAL_NOTE ||
             name == BEHAVIOR_NOTE || name == PLAN_JSON) {
    found = 0;
    bytes.clear();
  } else if (type == DESCRIPTOR) {
    bytes.clear();
  }
  if (value) memcpy(value, bytes.data(), bytes.size());
  if (count) *count = found;
  return 0;
}
API int cudnnBackendExecute(void* handle, void*, void*) {
  return launch(((Handle*)handle)->stream, "cudnnBackendExecute");
}
