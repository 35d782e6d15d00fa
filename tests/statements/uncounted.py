"""Statements that would tell about people without naming them in a result: each must be refused, or charged.

Who asks sees every column clear, so nothing hides behind a mask. Beside each script stands who it tells about: ids that
must then be charged by name, or SOMEBODY where it tells that people of a kind exist or not (then one person at least is
charged, with or without a name). 1001, 1004, … exist; 1002, 1003, 1005, … do not.
"""

SOMEBODY = "somebody"
# One person's row, or somebody else's where one is found. 1004 is asked about, and is not named.
PICKED = "SELECT person_id FROM taj.person WHERE person_id = 1001 OR (person_id BETWEEN 1003 AND 1005 AND risk > 0)"
RANKED = PICKED.replace("person_id FROM", "person_id, row_number() OVER (ORDER BY (person_id = 1001)) AS n FROM")
GROUPED = "(SELECT birth_place, count(*) AS c FROM taj.person GROUP BY birth_place) x"

UNCOUNTED = [
    ("empty groups", "a count of nothing is an answer", [
        ("SELECT count(*) FROM taj.person WHERE person_id = 1002", {1002}),
        ("SELECT count(*) FROM taj.person WHERE family_name = 'Nobody'", SOMEBODY),
        ("SELECT max(family_name) FROM taj.person WHERE person_id BETWEEN 1002 AND 1003", SOMEBODY),
        ("SELECT array_agg(person_id) FROM taj.person WHERE nir LIKE 'x%'", SOMEBODY),
        ("SELECT bool_or(true) FROM taj.involvement WHERE person_id > 1001 AND person_id < 1004", SOMEBODY),
        ("SELECT count(*), now() IS NOT NULL FROM taj.involvement WHERE role = 'dragon'", SOMEBODY),
        ("SELECT 1 FROM taj.person WHERE person_id = 1003", {1003}),
        ("SELECT FROM taj.person WHERE person_id = 1001", {1001}),
        ("SELECT count(*) FROM taj.person GROUP BY GROUPING SETS (())", SOMEBODY),
        ("SELECT x.n FROM (SELECT count(*) AS n FROM taj.person WHERE person_id = 1001) x", {1001}),
        ("SELECT 'yes' FROM (SELECT count(*) AS n FROM taj.person WHERE phone LIKE '06%') x WHERE n > 100", SOMEBODY),
        ("SELECT CASE count(*) WHEN 0 THEN 'free' ELSE 'wanted' END FROM taj.involvement WHERE person_id = 1001", {1001}),
    ]),
    ("asked is told", "`not in the file` is an answer", [
        ("SELECT family_name FROM taj.person WHERE person_id = 999", {999}),
        ("SELECT 1 FROM taj.person WHERE person_id IN (1002, 1003)", {1002, 1003}),
        ("SELECT 1 FROM taj.person WHERE person_id = ANY ('{998,1001}')", {998, 1001}),
        ("SELECT 1 FROM taj.person WHERE 1002 = person_id", {1002}),
        ("SELECT 1 FROM taj.person WHERE person_id = 1001 AND family_name = 'Nobody'", {1001}),
        ("SELECT 1 FROM taj.person WHERE person_id = 1000 + 1 AND false", SOMEBODY),
        ("SELECT 1 FROM taj.person WHERE (person_id, family_name) = (1001, 'Nobody')", SOMEBODY),
        ("SELECT 1 FROM taj.person WHERE person_id >= 1002 AND person_id <= 1002", SOMEBODY),
        ("SELECT 1 FROM taj.person WHERE person_id::text = '1002'", SOMEBODY),
        ("SELECT 1 FROM taj.person WHERE -person_id = -1002", SOMEBODY),
        ("SELECT 1 FROM taj.person p JOIN (VALUES (1001), (1002)) v(x) ON p.person_id = v.x WHERE p.family_name = 'Nobody'", SOMEBODY),
        ("SELECT 1 FROM taj.person WHERE nir = (SELECT 'x')", SOMEBODY),
        ("SELECT 1 FROM taj.person WHERE nir IS NOT DISTINCT FROM 'x'", SOMEBODY),
        ("SELECT 1 FROM sia.owner WHERE owner_id = 1002", {1002}),
        ("SELECT 1 FROM taj.person p, taj.involvement i WHERE p.person_id = 1001 AND i.person_id = 1007 AND i.role = 'dragon'", {1001, 1007}),
    ]),
    ("outer joins", "the missing row tells", [
        ("SELECT t.name, p.person_id FROM ref.town t LEFT JOIN taj.person p ON p.birth_place = t.name AND p.family_name = 'Nobody'", SOMEBODY),
        ("SELECT v.x, p.person_id IS NULL FROM (VALUES (1001), (1002), (1004)) v(x) LEFT JOIN taj.person p ON p.person_id = v.x", {1001, 1002, 1004}),
        ("SELECT t.name FROM ref.town t LEFT JOIN taj.person p ON p.birth_place = t.name WHERE p.person_id IS NULL", SOMEBODY),
        ("SELECT p.person_id FROM taj.person p LEFT JOIN taj.involvement i ON i.case_id = 1 AND i.role = 'suspect' WHERE p.person_id = 1001 AND i.person_id IS NULL", SOMEBODY),
        ("SELECT o.code FROM ref.offence o FULL JOIN taj.case c ON c.offence_code = o.code AND c.lead = 7 WHERE c.case_id IS NULL", SOMEBODY),
        ("SELECT 1 FROM taj.person p RIGHT JOIN (SELECT 1) x ON p.person_id = 1001", {1001}),
        ("SELECT g, p.sex FROM generate_series(1001, 1010) g LEFT JOIN taj.person p ON p.person_id = g", SOMEBODY),
        ("SELECT p.person_id FROM taj.person p LEFT JOIN taj.person q ON q.person_id = p.person_id + 3 WHERE p.person_id = 1001", {1001, 1004}),
        ("SELECT 1 FROM ref.town t LEFT JOIN LATERAL (SELECT 1 AS y FROM taj.person p WHERE p.birth_place = t.name AND p.phone LIKE '%99%') x ON true WHERE x.y IS NULL", SOMEBODY),
    ]),
    ("sub-selects", "an answer even when nothing matches", [
        ("SELECT EXISTS (SELECT 1 FROM taj.person WHERE family_name = 'Nobody')", SOMEBODY),
        ("SELECT EXISTS (SELECT 1 FROM taj.person WHERE person_id = 1001)", {1001}),
        ("SELECT 1 WHERE EXISTS (SELECT 1 FROM taj.person WHERE person_id = 1001)", {1001}),
        ("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM taj.person WHERE family_name = 'Nobody')", SOMEBODY),
        ("SELECT 1001 IN (SELECT person_id FROM taj.involvement)", {1001}),
        ("SELECT (SELECT count(*) FROM taj.person)", SOMEBODY),
        ("SELECT (SELECT family_name FROM taj.person WHERE person_id = 1001)", {1001}),
        ("SELECT ARRAY(SELECT person_id FROM taj.person WHERE birth_place = 'Lille')", SOMEBODY),
        ("SELECT t.name FROM ref.town t WHERE EXISTS (SELECT 1 FROM taj.person p WHERE p.birth_place = t.name AND p.risk > 97)", SOMEBODY),
        ("SELECT t.name, (SELECT count(*) FROM taj.person p WHERE p.birth_place = t.name) FROM ref.town t", SOMEBODY),
        ("SELECT p.person_id FROM taj.person p WHERE p.person_id = 1001 AND EXISTS (SELECT 1 FROM taj.involvement i WHERE i.person_id = 1004)", {1004}),
        ("SELECT p.person_id FROM taj.person p WHERE p.person_id = 1001 AND p.risk < (SELECT risk FROM taj.person WHERE person_id = 1004)", {1004}),
        ("SELECT p.person_id FROM taj.person p WHERE p.person_id = 1001 AND NOT EXISTS (SELECT 1 FROM taj.involvement i WHERE i.case_id = 1)", SOMEBODY),
        ("SELECT p.person_id FROM taj.person p WHERE p.person_id = 1001 AND p.family_name NOT IN (SELECT family_name FROM taj.person WHERE person_id <> 1001)", SOMEBODY),
        ("SELECT p.person_id FROM taj.person p WHERE p.person_id = 1001 AND EXISTS (SELECT 1 FROM taj.involvement i WHERE i.person_id = p.person_id OR i.person_id = 1004)", SOMEBODY),
        ("SELECT 1 FROM ref.town LIMIT (SELECT count(*) FROM taj.person WHERE person_id = 1001)", {1001}),
        ("SELECT name FROM ref.town OFFSET (SELECT risk / 20 FROM taj.person WHERE person_id = 1001)", {1001}),
        ("SELECT name FROM ref.town ORDER BY (SELECT risk FROM taj.person WHERE person_id = 1001) LIMIT 1", {1001}),
        ("SELECT name FROM ref.town GROUP BY name HAVING (SELECT count(*) FROM taj.person) > 10", SOMEBODY),
        ("VALUES ((SELECT family_name FROM taj.person WHERE person_id = 1001))", {1001}),
        ("SELECT count(*) FILTER (WHERE EXISTS (SELECT 1 FROM taj.person WHERE person_id = 1001)) FROM ref.town", {1001}),
    ]),
    ("offsets and limits", "rows thrown away are rows looked at", [
        ("SELECT person_id FROM taj.person ORDER BY person_id OFFSET 1000000", SOMEBODY),
        ("SELECT person_id FROM taj.person ORDER BY person_id OFFSET 2 LIMIT 1", {1001, 1004, 1007}),
        ("SELECT family_name FROM taj.person WHERE birth_place = 'Lille' LIMIT 0", SOMEBODY),
        ("SELECT family_name FROM (SELECT family_name FROM taj.person ORDER BY person_id OFFSET 1 LIMIT 1) x", {1001, 1004}),
        ("SELECT 1 FROM taj.person WHERE person_id = 1001 OFFSET 1", {1001}),
    ]),
    ("ranks", "a place tells how many are before", [
        ("SELECT * FROM (SELECT person_id, row_number() OVER (ORDER BY person_id) AS n FROM taj.person) x WHERE n = 3", {1001, 1004, 1007}),
        ("SELECT * FROM (SELECT person_id, rank() OVER (ORDER BY risk, person_id) AS n FROM taj.person) x WHERE person_id = 1010", {1010, 1001}),
        ("SELECT * FROM (SELECT person_id, lag(family_name) OVER (ORDER BY person_id) FROM taj.person) x WHERE person_id = 1004", {1001, 1004}),
        ("SELECT * FROM (SELECT person_id, count(*) OVER () FROM taj.person) x WHERE person_id = 1004", {1001, 1004, 1007}),
        ("SELECT person_id, max(risk) OVER () FROM taj.person WHERE person_id < 1008 LIMIT 1", {1001, 1004, 1007}),
        ("SELECT ntile(2) OVER (ORDER BY person_id) FROM taj.person WHERE person_id < 1008 LIMIT 1", {1001, 1004, 1007}),
        ("SELECT person_id, percent_rank() OVER (ORDER BY risk) FROM taj.person LIMIT 1", {1001, 1004}),
    ]),
    ("picked among others", "that one's own row is gone tells of the others", [
        (f"WITH c AS ({PICKED} ORDER BY (person_id = 1001) LIMIT 1) SELECT p.person_id, EXISTS (SELECT 1 FROM c WHERE c.person_id = p.person_id) FROM taj.person p WHERE p.person_id = 1001", {1004}),
        (f"SELECT p.person_id FROM taj.person p WHERE p.person_id = 1001 AND p.person_id NOT IN (SELECT c.person_id FROM ({PICKED} ORDER BY (person_id = 1001) LIMIT 1) c)", {1004}),
        (f"SELECT p.person_id FROM taj.person p WHERE p.person_id = 1001 AND EXISTS (SELECT 1 FROM (SELECT DISTINCT ON (b) y.person_id FROM (SELECT person_id, person_id < 0 AS b FROM ({PICKED}) z) y ORDER BY b, person_id DESC) c WHERE c.person_id = p.person_id)", {1004}),
        (f"SELECT p.person_id, (SELECT c.n FROM ({RANKED}) c WHERE c.person_id = p.person_id) AS n FROM taj.person p WHERE p.person_id = 1001", {1004}),
        (f"SELECT p.person_id, c.n FROM taj.person p LEFT JOIN ({RANKED}) c ON c.person_id = p.person_id AND c.n = 1 WHERE p.person_id = 1001", {1004}),
        (f"SELECT p.person_id, y.z FROM taj.person p LEFT JOIN LATERAL (SELECT 1 AS z FROM ({PICKED} ORDER BY (person_id = 1001) LIMIT 1) c WHERE c.person_id = p.person_id) y ON true WHERE p.person_id = 1001", {1004}),
    ]),
    ("conditions on groups", "a group left out tells of those in it", [
        ("SELECT birth_place FROM taj.person GROUP BY birth_place HAVING count(*) > 1000", SOMEBODY),
        ("SELECT family_name FROM taj.person GROUP BY family_name HAVING bool_or(person_id = 1001 AND risk > 50)", {1001}),
        ("SELECT x.f FROM (SELECT family_name AS f, count(*) AS n FROM taj.person GROUP BY 1) x WHERE x.n > 1000", SOMEBODY),
        ("SELECT count(*) FILTER (WHERE person_id = 1001 AND risk > 50) FROM taj.person", {1001}),
        ("SELECT sum(CASE WHEN person_id = 1007 THEN risk END) FROM taj.person", {1007}),
        ("SELECT role, count(*) FROM taj.involvement GROUP BY role ORDER BY max(person_id) LIMIT 1", SOMEBODY),
        ("SELECT DISTINCT role FROM taj.involvement", SOMEBODY),
        ("SELECT DISTINCT ON (sex) person_id FROM taj.person ORDER BY sex, risk DESC, person_id", SOMEBODY),
        ("SELECT count(DISTINCT person_id) FROM taj.involvement WHERE case_id = 1", SOMEBODY),
    ]),
    ("conditions on groups in disguise", "a group left out tells of those in it", [
        (f"SELECT x.birth_place FROM {GROUPED}, LATERAL (WITH RECURSIVE r(v) AS (SELECT 0::int8 UNION ALL SELECT x.c FROM r WHERE v = 0) SELECT max(v) AS d FROM r) y WHERE y.d > 1000", {1001}),
    ]),
    ("set operations", "what is missing on one side tells", [
        ("SELECT 1001 INTERSECT SELECT person_id FROM taj.person", {1001}),
        ("SELECT 1001 EXCEPT SELECT person_id FROM taj.involvement", {1001}),
        ("SELECT 1 UNION SELECT 1 FROM taj.person WHERE person_id = 1001", {1001}),
        ("SELECT 'Martin' UNION SELECT family_name FROM taj.person WHERE person_id = 1001", {1001}),
        ("SELECT name FROM ref.town UNION ALL SELECT family_name FROM taj.person WHERE person_id = 1002", {1002}),
        ("WITH RECURSIVE r(n) AS (SELECT 1001 UNION SELECT i.person_id FROM taj.involvement i JOIN r ON i.person_id = r.n + 3) SELECT count(*) FROM r", SOMEBODY),
    ]),
    ("writes", "a command tag is an answer", [
        ("UPDATE taj.person SET risk = risk WHERE person_id = 1001", {1001}),
        ("DELETE FROM taj.involvement WHERE person_id = 1001 AND false", {1001}),
        ("UPDATE ref.town SET population = population FROM taj.person p WHERE p.person_id = 1001", {1001}),
        ("DELETE FROM ref.town USING taj.person p WHERE p.person_id = 1001 AND false", {1001}),
        ("INSERT INTO ref.town SELECT 99, 'x', 'y', 1 FROM taj.person WHERE person_id = 1001", {1001}),
        ("UPDATE ref.town SET population = (SELECT risk FROM taj.person WHERE person_id = 1001)", {1001}),
        ("WITH x AS (UPDATE taj.person SET risk = risk RETURNING 1) SELECT count(*) FROM x", SOMEBODY),
        ("CREATE TABLE t AS SELECT * FROM taj.person", SOMEBODY),
        ("SELECT person_id INTO t FROM taj.person", SOMEBODY),
    ]),
    ("errors", "that it fails is an answer", [
        ("SELECT 1 / (person_id - 1001) FROM taj.person WHERE person_id < 1004", SOMEBODY),
        ("SELECT (SELECT 1 FROM taj.person WHERE birth_place = 'Lille')", SOMEBODY),
        ("SELECT CASE WHEN EXISTS (SELECT 1 FROM taj.person WHERE person_id = 1001) THEN 1 / 0 END", {1001}),
        ("SELECT family_name::int FROM taj.person WHERE person_id = 1001", {1001}),
    ]),
    ("cursors and prepared statements", "rows passed over, rows never fetched", [
        (("BEGIN", "DECLARE c CURSOR FOR SELECT person_id FROM taj.person ORDER BY person_id", "MOVE 3 FROM c", "COMMIT"), {1001, 1004, 1007}),
        (("BEGIN", "DECLARE c CURSOR FOR SELECT person_id FROM taj.person WHERE family_name = 'Nobody'", "FETCH c", "COMMIT"), SOMEBODY),
        (("BEGIN", "DECLARE c CURSOR FOR SELECT person_id FROM taj.person ORDER BY person_id", "MOVE 1 c", "FETCH 1 c", "COMMIT"), {1001, 1004}),
        (("BEGIN", "DECLARE c SCROLL CURSOR FOR SELECT person_id FROM taj.person ORDER BY person_id", "MOVE LAST c", "COMMIT"), {1001, 1004}),
        (("BEGIN", "DECLARE c CURSOR FOR SELECT 1 FROM taj.person WHERE person_id = 1003", "FETCH ALL c", "COMMIT"), {1003}),
        (("PREPARE q(int) AS SELECT 1 FROM taj.person WHERE person_id = $1", "EXECUTE q(1002)"), {1002}),
        (("PREPARE q(int[]) AS SELECT 1 FROM taj.person WHERE person_id = ANY ($1)", "EXECUTE q('{1002,1003}')"), {1002, 1003}),
    ]),
    ("EXPLAIN and locks", "an estimate, a wait", [
        ("EXPLAIN ANALYZE SELECT 1 FROM taj.person WHERE person_id = 1001", {1001}),
        ("SELECT 1 FROM taj.person WHERE person_id = 1002 FOR UPDATE", {1002}),
        ("SELECT 1 FROM taj.person WHERE birth_place = 'Atlantis' FOR SHARE SKIP LOCKED", SOMEBODY),
        ("SELECT person_id FROM taj.person TABLESAMPLE BERNOULLI (0)", SOMEBODY),
    ]),
]

ALL = [(category, how, (script,) if isinstance(script, str) else script, who)
       for category, how, entries in UNCOUNTED for script, who in entries]
