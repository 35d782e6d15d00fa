"""A seeded generator of SELECTs over everything that a masked role can name: it does not know what is safe, on purpose."""
import random

TABLES = {
    "taj.person": {"id": ["person_id"], "text": ["family_name", "given_name", "birth_place", "sex", "nir", "note", "phone", "code"],
                   "int": ["person_id", "risk", "height"], "date": ["birth_date"], "bytea": ["photo"]},
    "taj.case": {"id": ["case_id"], "text": ["offence_code", "summary"], "int": ["case_id", "lead"], "date": ["opened"]},
    "taj.involvement": {"id": ["involvement_id", "person_id"], "text": ["role", "outcome", "comment"],
                        "int": ["involvement_id", "person_id", "case_id"], "date": ["recorded_at"]},
    "sia.owner": {"id": ["owner_id"], "text": ["category", "remark"], "int": ["owner_id"], "date": ["since"]},
    "sia.permit": {"id": ["permit_id", "owner_id"], "text": ["kind", "status", "remark", "serial_no"],
                   "int": ["permit_id", "owner_id", "points"], "date": ["valid_until"]},
    "ref.offence": {"id": ["code"], "text": ["code", "label"], "int": ["severity"], "date": []},
    "ref.town": {"id": ["town_id"], "text": ["name", "postcode"], "int": ["town_id", "population"], "date": []},
}
PERSON = {"taj.person": "person_id", "taj.involvement": "person_id", "sia.owner": "owner_id", "sia.permit": "owner_id"}
JOINS = {("taj.person", "taj.involvement"): "{a}.person_id = {b}.person_id", ("taj.person", "sia.owner"): "{a}.person_id = {b}.owner_id",
         ("taj.person", "sia.permit"): "{a}.person_id = {b}.owner_id", ("taj.involvement", "sia.permit"): "{a}.person_id = {b}.owner_id",
         ("taj.person", "ref.town"): "{a}.birth_place = {b}.name", ("taj.involvement", "taj.case"): "{a}.case_id = {b}.case_id",
         ("taj.case", "ref.offence"): "{a}.offence_code = {b}.code", ("sia.owner", "sia.permit"): "{a}.owner_id = {b}.owner_id"}


class RandomSql:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, *options):
        return self.r.choice(options)

    # --- expressions over the aliases in scope ---
    def column(self, scope, kind=None):
        """A column of `kind` ("text", "int", "date") of one of the tables in scope, with its kind."""
        for _ in range(20):
            alias, table = self.r.choice(scope)
            its_kind = kind or self.pick("text", "int", "date", "text", "int")
            if TABLES[table].get(its_kind):
                return f"{alias}.{self.r.choice(TABLES[table][its_kind])}", its_kind
        return "1", "int"

    def date(self, scope):
        column, kind = self.column(scope, "date")
        return column if kind == "date" else "now()"

    def literal(self, kind):
        if kind == "text":
            return self.pick("'A'", "'M'", "'Martin'", "'open'", "''", "'CA'", "'06'", "'5'", "'Lille'", "'suspect'")
        if kind == "date":
            return self.pick("'1970-01-01'", "'2019-06-15'", "'1985-07-02'", "now()")
        return str(self.pick(0, 1, 5, 10, 33, 50, 170, 1001, 1300, 1500))

    def expression(self, scope, kind=None, depth=2):
        column, kind = self.column(scope, kind)
        if kind == "int" and self.r.random() < 0.03:  # fails on some rows
            return self.pick(f"(100 / {column})", f"({self.column(scope, 'text')[0]})::int"), "int"
        if depth == 0 or self.r.random() < 0.45:
            return column, kind
        inner, _ = self.expression(scope, kind, depth - 1)
        if kind == "text":
            return self.pick(f"upper({inner})", f"substr({inner}, 2)", f"{inner} || 'x'", f"coalesce({inner}, '-')",
                             f"nullif({inner}, {self.literal('text')})", f"md5({inner})", f"left({inner}, 3)", f"reverse({inner})",
                             f"CASE WHEN {self.condition(scope, depth - 1)} THEN {inner} ELSE 'no' END", f"({inner})::varchar(4)",
                             f"replace({inner}, 'a', 'b')", f"concat({inner}, '-', {column})", f"to_char({self.date(scope)}, 'YYYY-MM-DD')"), "text"
        if kind == "date":
            return self.pick(f"date_trunc('month', {inner})", f"({inner})::date", f"coalesce({inner}, '2000-01-01')",
                             f"greatest({inner}, '1980-05-05')", f"({inner}) + interval '1 day'"), "date"
        return self.pick(f"({inner} + 1)", f"({inner} % 7)", f"abs({inner})", f"coalesce({inner}, 0)", f"({inner} / 10)",
                         f"length({self.column(scope, 'text')[0]})", f"extract(year FROM {self.date(scope)})::int",
                         f"extract(doy FROM {self.date(scope)})::int", f"({inner})::text::int", f"greatest({inner}, {self.literal('int')})",
                         f"CASE WHEN {self.condition(scope, depth - 1)} THEN 1 ELSE 0 END"), "int"

    def condition(self, scope, depth=2):
        if depth > 0 and self.r.random() < 0.3:
            return (f"({self.condition(scope, depth - 1)} {self.pick('AND', 'OR', 'OR')} {self.condition(scope, depth - 1)})"
                    if self.r.random() < 0.8 else f"NOT ({self.condition(scope, depth - 1)})")
        left, kind = self.expression(scope, None, max(0, depth - 1))
        form = self.r.random()
        if form < 0.12:
            return f"{left} IS {self.pick('', 'NOT ')}NULL"
        if form < 0.2 and kind == "text":
            return f"{left} {self.pick('LIKE', 'NOT LIKE', 'ILIKE')} {self.pick(chr(39) + '%a%' + chr(39), chr(39) + 'C%' + chr(39), chr(39) + '_e%' + chr(39))}"
        if form < 0.27:
            return f"{left} BETWEEN {self.literal(kind)} AND {self.literal(kind)}"
        if form < 0.34:
            return f"{left} IN ({self.literal(kind)}, {self.literal(kind)})"
        if form < 0.4:
            return f"{left} IS {self.pick('', 'NOT ')}DISTINCT FROM {self.column(scope, kind)[0]}"
        if form < 0.5:
            return f"{left} {self.pick('=', '<', '>')} {self.column(scope, kind)[0]}"
        return f"{left} {self.pick('=', '<', '>', '<>', '<=')} {self.literal(kind)}"

    # --- statements ---
    def source(self):
        """(text, scope): one to three tables."""
        table = self.r.choice([*list(TABLES)[:5], *TABLES])
        scope, text = [("a", table)], f"{table} a"
        for alias in "bc":
            if self.r.random() > 0.35:
                break
            pair = [(j, on) for j, on in JOINS.items() if j[0] == scope[-1][1]]
            if not pair:
                break
            (_, other), on = self.r.choice(pair)
            kind = self.pick("JOIN", "JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN")
            on = on.format(a=scope[-1][0], b=alias)
            if self.r.random() < 0.2:
                on += f" AND {self.condition([scope[-1], (alias, other)], 1)}"
            text += f" {kind} {other} {alias}" + f" ON {on}"
            scope.append((alias, other))
        return text, scope

    def tied(self, scope):
        alias, table = self.r.choice(scope)
        if table not in PERSON:
            return "true"
        other = self.r.choice(list(PERSON))
        inner = [("z", other)]
        tie = f"z.{PERSON[other]} = {alias}.{PERSON[table]}"
        body = f"FROM {other} z WHERE {tie} AND {self.condition(inner + [(alias, table)], 1)}"
        return self.pick(f"EXISTS (SELECT 1 {body})", f"NOT EXISTS (SELECT 1 {body})", f"(SELECT count(*) {body}) > 1",
                         f"{alias}.{PERSON[table]} IN (SELECT z.{PERSON[other]} {body})")

    def where(self, scope):
        parts = [self.condition(scope) for _ in range(self.pick(0, 0, 1, 1, 2))]
        if self.r.random() < 0.2:
            parts.append(self.tied(scope))
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def select(self):
        text, scope = self.source()
        form = self.r.random()
        if form < 0.3:
            listed = ", ".join(f"{self.expression(scope)[0]} AS c{i}" for i in range(self.pick(1, 2, 3)))
            return f"SELECT {self.pick('', '', 'DISTINCT ')}{listed} FROM {text}{self.where(scope)}"
        if form < 0.4:
            return f"SELECT {self.pick('*', 'a.*')} FROM {text}{self.where(scope)}"
        if form < 0.65:
            group = self.expression(scope, None, 1)[0]
            value, kind = self.expression(scope, "int", 1)
            what = self.pick("count(*)", f"count({value})", f"sum({value})", f"max({self.column(scope)[0]})", f"avg({value})",
                             f"count(DISTINCT {value})", f"bool_or({self.condition(scope, 1)})", f"count(*) FILTER (WHERE {self.condition(scope, 1)})")
            having = f" HAVING {what} {self.pick('>', '<')} {self.literal('int')}" if self.r.random() < 0.2 and "(" in what and "bool" not in what and "max" not in what else ""
            return f"SELECT {group} AS g, {what} AS v FROM {text}{self.where(scope)} GROUP BY 1{having}"
        if form < 0.75:
            what = ", ".join(self.pick("count(*)", f"sum({self.expression(scope, 'int', 1)[0]})", f"min({self.column(scope)[0]})",
                                       f"array_agg({self.column(scope, 'int')[0]} ORDER BY {scope[0][0]}.{TABLES[scope[0][1]]['id'][0]}, {self.column(scope)[0]})")
                             for _ in range(self.pick(1, 2)))
            return f"SELECT {what} FROM {text}{self.where(scope)}"
        if form < 0.85:  # a total order, so that LIMIT picks the same rows from equal tables
            keys = ", ".join(f"{alias}.{TABLES[table]['id'][0]}" for alias, table in scope)
            order = self.pick("", f"{self.expression(scope)[0]}, ", f"{self.column(scope)[0]} DESC NULLS LAST, ")
            return (f"SELECT {keys} FROM {text}{self.where(scope)} ORDER BY {order}{keys} LIMIT {self.pick(1, 3, 10)}"
                    f"{self.pick('', '', ' OFFSET 2')}")
        if form < 0.93:
            over = self.pick("rank()", "row_number()", "dense_rank()", "count(*)", "lag(1)")
            alias, table = scope[0]
            ident = f"{alias}.{TABLES[table]['id'][0]}"
            return (f"SELECT {ident}, {over} OVER ({self.pick('', f'PARTITION BY {ident} ')}ORDER BY {self.column(scope)[0]}, "
                    + ", ".join(f"{x}.{TABLES[t]['id'][0]}" for x, t in scope) + f") FROM {text}{self.where(scope)}")
        other, other_scope = self.source()
        one, kind = self.expression(scope, None, 1)
        two, _ = self.expression(other_scope, kind, 1)
        return (f"SELECT {one} FROM {text}{self.where(scope)} {self.pick('UNION', 'UNION ALL', 'INTERSECT', 'EXCEPT')} "
                f"SELECT {two} FROM {other}{self.where(other_scope)}")

    def statement(self):
        sql = self.select()
        wrap = self.r.random()
        if wrap < 0.06:
            return f"SELECT count(*) FROM ({sql}) x"
        if wrap < 0.12:
            return f"WITH w AS ({sql}) SELECT * FROM w"
        if wrap < 0.14:
            return f"SELECT EXISTS ({sql})"
        return sql
