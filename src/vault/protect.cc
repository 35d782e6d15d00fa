#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <system_error>

#include "base/log.h"
#include "vault/keys.h"

namespace ecluse {

void ProtectProcessMemory() {
  if (prctl(PR_SET_DUMPABLE, 0) != 0)
    Log().warn("the process stays dumpable: a core file or a debugger could see keys");
  rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) Log().warn("core files could not be switched off");
  // Under a finite limit mlockall would succeed now and make a later allocation fail.
  rlimit locked{};
  if (getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur != RLIM_INFINITY) {
    rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_MEMLOCK, &unlimited) != 0) {
      Log().warn("memory is not locked, keys could be written to swap: set LimitMEMLOCK=infinity, or use no swap");
      return;
    }
  }
  // On fault: address space that is only reserved (stacks) costs nothing.
  if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
    Log().warn("memory is not locked, keys could be written to swap: {}", std::generic_category().message(errno));
}

}  // namespace ecluse
