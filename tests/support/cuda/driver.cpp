// libcuda: what PyTorch looks for at its start, and what Triton links to.
#define API extern "C" __attribute__((visibility("default")))
#define DONE(name) API int name(...) { return 0; }

// Of the runtime, which is preloaded; what Triton builds against this file need not know them.
#define RUNTIME extern "C" __attribute__((weak))
RUNTIME int standin_launch(void* stream, const char* name);
RUNTIME int cudaDeviceGetAttribute(int* value, int name, int device);

API int cuInit(unsigned) { return 100; }  // no device
API int cuDriverGetVersion(int* version) { return *version = 13000, 0; }
API int cuDeviceGet(int* device, int) { return *device = 0; }
API int cuDeviceGetAttribute(int* value, int name, int device) {  // both number them alike
  return cudaDeviceGetAttribute ? cudaDeviceGetAttribute(value, name, device) : *value = 0;
}
API int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  if (flags) *flags = 0;
  if (active) *active = 1;
  return 0;
}
API int cuCtxGetCurrent(void** context) { return *context = (void*)1, 0; }
API int cuCtxGetDevice(int* device) { return *device = 0; }
API int cuDevicePrimaryCtxRetain(void** context, int) { return *context = (void*)1, 0; }
API int cuGetErrorString(int, const char** text) { return *text = "an error of the stand-in", 0; }
API int cuFuncGetAttribute(int* value, int, void*) { return *value = 0; }

static int launch(void* stream) {
  return standin_launch ? standin_launch(stream, "a compiled kernel") : 0;
}
API int cuLaunchKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                       void* stream, void**, void**) {
  return launch(stream);
}
struct Configuration {  // the beginning of CUlaunchConfig
  unsigned sizes[7];
  void* stream;
};
API int cuLaunchKernelEx(const Configuration* configuration, void*, void**, void**) {
  return launch(configuration->stream);
}

DONE(cuCtxGetLimit)
DONE(cuCtxSetCurrent)
DONE(cuCtxSetLimit)
DONE(cuPointerGetAttribute)
DONE(cuPointerGetAttributes)
DONE(cuFuncSetAttribute)
DONE(cuFuncSetCacheConfig)
DONE(cuModuleGetFunction)
DONE(cuModuleLoad)
DONE(cuModuleLoadData)
DONE(cuModuleUnload)
DONE(cuOccupancyMaxActiveClusters)
DONE(cuTensorMapEncodeIm2col)
DONE(cuTensorMapEncodeTiled)
