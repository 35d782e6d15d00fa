SELECT $1::int, E'\n', $$x$$, $a$b$a$ -- c
/* /* x */ */