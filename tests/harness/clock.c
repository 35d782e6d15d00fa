/* LD_PRELOAD: a wall clock that a test sets. The file that WALL_CLOCK names holds the seconds to add. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec* now) {
  long rc = syscall(SYS_clock_gettime, id, now);
  const char* path = getenv("WALL_CLOCK");
  if (rc != 0 || id != CLOCK_REALTIME || path == NULL) return (int)rc;
  char text[32] = {0};
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file >= 0 && read(file, text, sizeof text - 1) > 0) now->tv_sec += strtol(text, NULL, 10);
  if (file >= 0) close(file);
  return 0;
}
