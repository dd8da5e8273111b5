// libcuda: what PyTorch looks for at its start, and what Triton links to.
#define API extern "C" __attribute__((visibility("default")))
#define DONE(name) API int name(...) { return 0; }

API int cuInit(unsigned) { return 100; }  // no device
API int cuDriverGetVersion(int* version) { return *version = 13000, 0; }
API int cuDeviceGet(int* device, int) { return *device = 0; }
API int cuDeviceGetAttribute(int* value, int, int) { return *value = 0; }
API int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  if (flags) *flags = 0;
  if (active) *active = 1;
  return 0;
}
API int cuCtxGetCurrent(void** context) { return *context = (void*)1, 0; }
API int cuCtxGetDevice(int* device) { return *device = 0; }
API int cuDevicePrimaryCtxRetain(void** context, int) { return *context = (void*)1, 0; }
API int cuGetErrorString(int, const char** text) { return *text = "an error of the stand-in", 0; }
DONE(cuCtxSetCurrent)
DONE(cuPointerGetAttribute)
DONE(cuFuncGetAttribute)
DONE(cuFuncSetAttribute)
DONE(cuFuncSetCacheConfig)
DONE(cuLaunchKernel)
DONE(cuLaunchKernelEx)
DONE(cuModuleGetFunction)
DONE(cuModuleLoadData)
DONE(cuModuleUnload)
DONE(cuOccupancyMaxActiveClusters)
DONE(cuTensorMapEncodeTiled)
