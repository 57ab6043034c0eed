/* Lets writes fail: loaded into a process with LD_PRELOAD. While the file that $VOID_FAULTS names is there, and holds
   "ERRNO PERCENT FOLDER", so many of the writes, flushes and renames below that folder fail with that error. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static __thread int asking;

__attribute__((constructor)) static void begin(void) { srandom(getpid()); }

/* The error that an operation on the path is to fail with, or 0. */
static int fault(const char *path) {
  char text[4096];
  int number, percent, start = 0;
  const char *control = getenv("VOID_FAULTS");
  if (!control || asking) return 0;
  asking = 1;
  int file = open(control, O_RDONLY | O_CLOEXEC);
  ssize_t size = file < 0 ? -1 : read(file, text, sizeof text - 1);
  if (file >= 0) close(file);
  asking = 0;
  if (size <= 0) return 0;
  text[size] = 0;
  if (sscanf(text, "%d %d %n", &number, &percent, &start) < 2 || !start) return 0;
  if (strncmp(path, text + start, strlen(text + start))) return 0;
  return random() % 100 < percent ? number : 0;
}

static int fault_of(int file) {
  char name[64], path[4096];
  snprintf(name, sizeof name, "/proc/self/fd/%d", file);
  ssize_t size = readlink(name, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = 0;
  return fault(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_IF(found) do { int error = (found); if (error) { errno = error; return -1; } } while (0)

ssize_t write(int file, const void *data, size_t size) {
  if (file > 2) FAIL_IF(fault_of(file));
  return REAL(write)(file, data, size);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
  FAIL_IF(fault_of(file));
  return REAL(pwrite64)(file, data, size, at);
}

int fsync(int file) {
  FAIL_IF(fault_of(file));
  return REAL(fsync)(file);
}

int fdatasync(int file) {
  FAIL_IF(fault_of(file));
  return REAL(fdatasync)(file);
}

int rename(const char *from, const char *to) {
  char path[4096];
  FAIL_IF(realpath(from, path) ? fault(path) : 0);
  return REAL(rename)(from, to);
}
