# The systemd unit, naming the program where this installation puts it.
set(unit "${CMAKE_CURRENT_LIST_DIR}/../packaging/ecluse.service")
set(target "${CMAKE_INSTALL_PREFIX}/lib/systemd/system/ecluse.service")
file(READ "${unit}" text)
string(REGEX REPLACE "(ExecStart=|ExecStartPre=)[^ \n]*/ecluse " "\\1${CMAKE_INSTALL_PREFIX}/bin/ecluse " text "${text}")
message(STATUS "Installing: $ENV{DESTDIR}${target}")
file(WRITE "$ENV{DESTDIR}${target}" "${text}")
