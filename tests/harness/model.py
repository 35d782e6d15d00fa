"""Generated queries whose people are known: built and evaluated row by row in Python, never by PostgreSQL or the gate.

A query is built over rows of the Register: what it must return and disclose follows from the same objects that make its
text. `Expected.people` are those of the delivered (or skipped) rows, `asked` those named by constants, `empty` the arms
that came back with nothing."""
import random
import re
from dataclasses import dataclass, field

TABLES = {"p": ("taj.person", "person_id"), "i": ("taj.involvement", "person_id"), "o": ("sia.owner", "owner_id"),
          "m": ("sia.permit", "owner_id"), "a": ("sia.address", "owner_id")}
TEXT = {"p": ["family_name", "given_name", "birth_place", "sex"], "i": ["role", "outcome"], "o": ["category"],
        "m": ["kind", "status"], "a": ["town", "postcode"]}
NUMBER = {"p": ["risk", "person_id"], "i": ["case_id", "person_id"], "o": ["owner_id"], "m": ["points", "permit_id"],
          "a": ["address_id"]}


@dataclass
class Expected:
    sql: str
    people: set
    asked: set = field(default_factory=set)
    arms: int = 1
    empty: int = 0
    rows: int = 0

    @property
    def values(self):
        """Beyond the first in each list that is searched, whatever the column: every one is a question."""
        lists = re.findall(r" IN \(([^)]*)\)|ARRAY\[([^\]]*)\]|'\{([^}]*)\}'", self.sql)
        return sum("".join(found).count(",") for found in lists if "SELECT" not in "".join(found))


def key(alias):
    return f"{alias}.{TABLES[alias][1]}"


def person(alias, row):
    return row[alias][TABLES[alias][1]]


class Generator:
    def __init__(self, register, seed):
        self.register, self.random = register, random.Random(seed)
        self.case_people = {}
        for row in register["taj.involvement"]:
            self.case_people.setdefault(row["case_id"], set()).add(row["person_id"])

    # --- pieces ---
    def predicate(self, alias):
        """(text, test) over one table."""
        r, table = self.random, TABLES[alias][0]
        rows = self.register[table]
        if r.random() < 0.6:
            column = r.choice(TEXT[alias])
            value = r.choice(rows)[column]
            form = r.choice(["=", "<>", "in", "like"])
            if form == "=":
                return f"{alias}.{column} = '{value}'", lambda x: x[column] == value
            if form == "<>":
                return f"{alias}.{column} <> '{value}'", lambda x: x[column] != value
            if form == "in":
                other = r.choice(rows)[column]
                return f"{alias}.{column} IN ('{value}', '{other}')", lambda x: x[column] in (value, other)
            return f"{alias}.{column} LIKE '{value[:2]}%'", lambda x: x[column].startswith(value[:2])
        column = r.choice(NUMBER[alias])
        low, high = sorted(r.choice(rows)[column] for _ in range(2))
        if r.random() < 0.5:
            high = low + r.randint(0, max(1, (high - low) // 4))
        return f"{alias}.{column} BETWEEN {low} AND {high}", lambda x: low <= x[column] <= high

    def where(self, aliases, likelihood=0.7):
        made = [(alias, *self.predicate(alias)) for alias in aliases if self.random.random() < likelihood]
        text = " AND ".join(text for _, text, _ in made)
        return text, lambda row: all(test(row[alias]) for alias, _, test in made)

    def rows(self, alias):
        return [{alias: row} for row in self.register[TABLES[alias][0]]]

    def join(self, left, rows, right):
        """Inner join on the people."""
        index = {}
        for row in self.register[TABLES[right][0]]:
            index.setdefault(row[TABLES[right][1]], []).append(row)
        return [{**row, right: other} for row in rows for other in index.get(person(left, row), [])]

    @staticmethod
    def people(rows):
        return {person(alias, row) for row in rows for alias in row if row[alias] is not None}

    def _done(self, sql, rows, delivered=None, **more):
        people = self.people(rows)
        return Expected(sql, people, empty=0 if rows else 1, rows=len(rows) if delivered is None else delivered, **more)

    # --- whole queries ---
    def plain(self):
        alias = self.random.choice(list(TABLES))
        text, test = self.where([alias])
        rows = [r for r in self.rows(alias) if test(r)]
        return self._done(f"SELECT {alias}.* FROM {TABLES[alias][0]} {alias}" + (f" WHERE {text}" if text else ""), rows)

    def _joined(self, aliases):
        rows = self.rows(aliases[0])
        sql = f"{TABLES[aliases[0]][0]} {aliases[0]}"
        for alias in aliases[1:]:
            rows = self.join(aliases[0], rows, alias)
            sql += f" JOIN {TABLES[alias][0]} {alias} ON {key(alias)} = {key(aliases[0])}"
        return sql, rows

    def inner(self):
        aliases = self.random.sample(list(TABLES), self.random.randint(2, 3))
        sql, rows = self._joined(aliases)
        text, test = self.where(aliases)
        rows = [r for r in rows if test(r)]
        return self._done(f"SELECT {key(aliases[0])}, {aliases[1]}.* FROM {sql}" + (f" WHERE {text}" if text else ""), rows)

    def colleagues(self):
        """Two people in one row: both are disclosed."""
        text, test = self.where(["i"], 1)
        by_case = {}
        for row in self.register["taj.involvement"]:
            by_case.setdefault(row["case_id"], []).append(row)
        pairs = [(x, y) for x in self.register["taj.involvement"] if test({"i": x}) for y in by_case[x["case_id"]]
                 if x["involvement_id"] != y["involvement_id"]]
        people = {x["person_id"] for pair in pairs for x in pair}
        return Expected("SELECT i.person_id, j.role FROM taj.involvement i JOIN taj.involvement j ON j.case_id = i.case_id "
                        f"AND j.involvement_id <> i.involvement_id WHERE {text}", people, empty=0 if pairs else 1, rows=len(pairs))

    def left(self):
        """The side that may be missing is tied: it can only tell of people who are counted anyway."""
        one, two = self.random.sample(list(TABLES), 2)
        text, test = self.where([one], 1)
        on, on_test = self.predicate(two)
        kept = [r for r in self.rows(one) if test(r)]
        out = []
        for row in kept:
            matches = [r for r in self.join(one, [row], two) if on_test(r[two])]
            out += matches or [{**row, two: None}]
        return self._done(f"SELECT {one}.*, {two}.* FROM {TABLES[one][0]} {one} LEFT JOIN {TABLES[two][0]} {two} "
                          f"ON {key(two)} = {key(one)} AND {on} WHERE {text}", out)

    def grouped(self):
        aliases = self.random.sample(list(TABLES), self.random.randint(1, 2))
        column = f"{aliases[0]}.{self.random.choice(TEXT[aliases[0]])}"
        sql, rows = self._joined(aliases)
        text, test = self.where(aliases, 0.8)
        rows = [r for r in rows if test(r)]
        what = self.random.choice(["count(*)", f"min({key(aliases[0])})", f"array_agg({key(aliases[0])})", "count(*), max(1)"])
        groups = {row[aliases[0]][column[2:]] for row in rows}
        return self._done(f"SELECT {column}, {what} FROM {sql}" + (f" WHERE {text}" if text else "") + f" GROUP BY {column}",
                          rows, delivered=len(groups))

    def distinct(self):
        alias = self.random.choice(list(TABLES))
        column = self.random.choice(TEXT[alias])
        text, test = self.where([alias], 1)
        rows = [r for r in self.rows(alias) if test(r)]
        return self._done(f"SELECT DISTINCT {alias}.{column} FROM {TABLES[alias][0]} {alias} WHERE {text}", rows,
                          delivered=len({r[alias][column] for r in rows}))

    def total(self):
        alias = self.random.choice(list(TABLES))
        text, test = self.where([alias], 1)
        rows = [r for r in self.rows(alias) if test(r)]
        what = self.random.choice(["count(*)", f"max({key(alias)})", f"string_agg({alias}.{TEXT[alias][0]}, ',')"])
        return self._done(f"SELECT {what} FROM {TABLES[alias][0]} {alias} WHERE {text}", rows, delivered=1)

    def union(self):
        keyword = self.random.choice(["UNION", "UNION ALL"])
        parts, people, empty, count, seen = [], set(), 0, 0, set()
        for _ in range(2):
            alias = self.random.choice(list(TABLES))
            text, test = self.where([alias], 1)
            rows = [r for r in self.rows(alias) if test(r)]
            parts.append(f"SELECT {key(alias)} FROM {TABLES[alias][0]} {alias} WHERE {text}")
            people |= self.people(rows)
            empty += not rows
            count += len(rows)
            seen |= {person(alias, r) for r in rows}
        return Expected(f" {keyword} ".join(parts), people, arms=2, empty=empty, rows=len(seen) if keyword == "UNION" else count)

    def skipped(self):
        offset, limit = self.random.randint(1, 9), self.random.randint(1, 9)
        text, test = self.where(["p"])
        rows = [r for r in self.rows("p") if test(r)][:offset + limit]
        return self._done("SELECT p.person_id, p.sex FROM taj.person p" + (f" WHERE {text}" if text else "") +
                          f" ORDER BY p.person_id LIMIT {limit} OFFSET {offset}", rows, delivered=max(0, len(rows) - offset))

    def exists(self):
        """Tied questions about people who are in the row already."""
        one, two = self.random.sample(list(TABLES), 2)
        text, test = self.where([one], 1)
        inner, inner_test = self.predicate(two)
        tie = f"SELECT 1 FROM {TABLES[two][0]} {two} WHERE {key(two)} = {key(one)} AND {inner}"
        negated = self.random.random() < 0.5
        have = {r[TABLES[two][1]] for r in self.register[TABLES[two][0]] if inner_test(r)}
        form = self.random.choice(["where", "list", "scalar"])
        rows = [r for r in self.rows(one) if test(r)]
        if form == "where":
            rows = [r for r in rows if (person(one, r) in have) != negated]
            sql = f"SELECT {one}.* FROM {TABLES[one][0]} {one} WHERE {text} AND {'NOT ' * negated}EXISTS ({tie})"
        elif form == "list":
            sql = f"SELECT {key(one)}, EXISTS ({tie}) FROM {TABLES[one][0]} {one} WHERE {text}"
        else:
            count = tie.replace("SELECT 1", "SELECT count(*)")
            sql = f"SELECT {key(one)}, ({count}) FROM {TABLES[one][0]} {one} WHERE {text}"
        return self._done(sql, rows)

    def wrapped(self):
        """Sub-selects in FROM and common table expressions count as what is inside them."""
        inner = self.random.choice([self.plain, self.inner, self.left])()
        while inner.sql.startswith("SELECT p.*, ") or ".*, " in inner.sql:  # duplicate names cannot be wrapped
            inner = self.plain()
        if ", " in inner.sql.split(" FROM ")[0]:
            inner = self.plain()
        if self.random.random() < 0.5:
            sql = f"SELECT x.* FROM ({inner.sql}) x"
        else:
            sql = f"WITH x AS ({inner.sql}) SELECT * FROM x"
        return Expected(sql, inner.people, arms=inner.arms, empty=inner.empty, rows=inner.rows)

    def lateral(self):
        one, two = self.random.sample(list(TABLES), 2)
        text, test = self.where([one], 1)
        rows = self.join(one, [r for r in self.rows(one) if test(r)], two)
        return self._done(f"SELECT {key(one)}, x.* FROM {TABLES[one][0]} {one}, LATERAL (SELECT {two}.{TEXT[two][0]} FROM "
                          f"{TABLES[two][0]} {two} WHERE {key(two)} = {key(one)}) x WHERE {text}", rows)

    def named(self):
        """People named by constants are charged whether or not they are there."""
        alias = self.random.choice(list(TABLES))
        ids = sorted({self.random.choice(self.register.people) + self.random.choice([0, 0, 1]) for _ in range(self.random.randint(1, 4))})
        text, test = self.predicate(alias) if self.random.random() < 0.4 else ("true", lambda _: True)
        if len(ids) == 1:
            condition = self.random.choice([f"{key(alias)} = {ids[0]}", f"{ids[0]} = {key(alias)}"])
        else:
            listed = ", ".join(map(str, ids))
            condition = self.random.choice([f"{key(alias)} IN ({listed})", f"{key(alias)} = ANY (ARRAY[{listed}])",
                                            f"{key(alias)} = ANY ('{{{listed}}}'::int[])"])
        rows = [r for r in self.rows(alias) if person(alias, r) in ids and test(r[alias])]
        out = self._done(f"SELECT {alias}.* FROM {TABLES[alias][0]} {alias} WHERE {condition} AND {text}", rows)
        out.asked = set(ids)
        return out

    def ranked(self):
        text, test = self.where(["i"], 1)
        rows = [r for r in self.rows("i") if test(r)]
        return self._done("SELECT i.person_id, row_number() OVER (PARTITION BY i.person_id ORDER BY i.involvement_id) "
                          f"FROM taj.involvement i WHERE {text}", rows)

    def case(self):
        """A case tells about everybody involved in it."""
        r = self.random
        low = r.choice(self.register["taj.case"])["case_id"]
        high = low + r.randint(0, 5)
        rows = [c for c in self.register["taj.case"] if low <= c["case_id"] <= high]
        people = {p for c in rows for p in self.case_people.get(c["case_id"], ())}
        rows = [c for c in rows if c["case_id"] in self.case_people]
        return Expected(f"SELECT c.* FROM taj.case c WHERE c.case_id BETWEEN {low} AND {high}", people,
                        empty=0 if rows else 1, rows=len(rows))

    KINDS = ("plain inner colleagues left grouped distinct total union skipped exists wrapped lateral named ranked case").split()

    def query(self):
        kind = self.random.choice(self.KINDS)
        return kind, getattr(self, kind)()
