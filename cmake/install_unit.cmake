# The systemd unit, naming the program and the documents where this installation puts them.
set(unit "${CMAKE_CURRENT_LIST_DIR}/../packaging/ecluse.service")
set(target "${CMAKE_INSTALL_PREFIX}/lib/systemd/system/ecluse.service")
file(READ "${unit}" text)
string(REGEX REPLACE "(ExecStart=|ExecStartPre=)[^ \n]*/ecluse " "\\1${CMAKE_INSTALL_PREFIX}/bin/ecluse " text "${text}")
string(REPLACE "file:///usr/share/doc/" "file://${CMAKE_INSTALL_PREFIX}/share/doc/" text "${text}")
message(STATUS "Installing: $ENV{DESTDIR}${target}")
file(WRITE "$ENV{DESTDIR}${target}" "${text}")
