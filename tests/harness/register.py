"""The register of the tests: some hundreds of invented people, made from a seed, known to the tests row by row.

Two twins, `a` and `b`, are equal in everything that the policy's masked roles may see and differ in everything they may
not: hidden columns, what a mask cuts away, rows behind a row condition, closed tables, columns the policy does not name.
Every value that must stay hidden carries CANARY or is one of `hidden_values`.
"""
import datetime
import random

FAMILY = ("Martin Bernard Thomas Petit Robert Richard Durand Dubois Moreau Laurent Simon Michel Lefebvre Leroy Roux David "
          "Bertrand Morel Fournier Girard Bonnet Dupont Lambert Fontaine Rousseau Vincent Muller Lefevre Faure Andre").split()
GIVEN = {letter: names.split() for letter, names in {
    "A": "Adele Alain Albert Alice Amelie Anne Antoine Arthur", "B": "Basile Beatrice Benoit Bernard Bruno Brigitte",
    "C": "Camille Celine Charles Chloe Claire Clement", "E": "Edgar Elise Emile Emma Etienne Eva",
    "J": "Jacques Jean Jeanne Jules Julie Juliette", "L": "Lea Leon Louis Louise Luc Lucie",
    "M": "Manon Marc Marcel Marie Mathilde Maxime", "P": "Pascal Patrice Paul Pauline Philippe Pierre"}.items()}
TOWNS = [(1, "Lille", "59000", 236234), (2, "Rouen", "76000", 114007), (3, "Nantes", "44000", 320732),
         (4, "Lyon", "69000", 522250), (5, "Brest", "29200", 139456), (6, "Dijon", "21000", 159346),
         (7, "Tours", "37000", 137658), (8, "Nancy", "54000", 105058)]
OFFENCES = [("A10", "theft", 2), ("A20", "burglary", 4), ("B10", "assault", 5), ("B20", "threats", 3), ("C10", "fraud", 3),
            ("C20", "forgery", 4), ("D10", "speeding", 1), ("D20", "hit and run", 5)]
ROLES = ["suspect", "victim", "witness"]
OUTCOMES = ["open", "judged", "fined"]
HIDDEN_OUTCOME = "closed_without_action"
UTC = datetime.timezone.utc

SCHEMA = """
CREATE SCHEMA taj; CREATE SCHEMA sia; CREATE SCHEMA lapi; CREATE SCHEMA ref; CREATE SCHEMA closed;
CREATE TABLE taj.person (
  person_id int PRIMARY KEY, nir text NOT NULL UNIQUE, family_name text NOT NULL, given_name text NOT NULL,
  birth_date date NOT NULL, birth_place text NOT NULL, sex text NOT NULL, risk int NOT NULL, note text, phone text,
  height smallint, code text, photo bytea, tracker text);
CREATE TABLE taj."case" (
  case_id int PRIMARY KEY, opened date NOT NULL, offence_code text NOT NULL, summary text, lead int);
CREATE TABLE taj.involvement (
  involvement_id int PRIMARY KEY, person_id int NOT NULL REFERENCES taj.person, case_id int NOT NULL,
  role text NOT NULL, outcome text NOT NULL, recorded_at timestamptz NOT NULL, comment text);
CREATE INDEX ON taj.involvement (person_id); CREATE INDEX ON taj.involvement (case_id);
CREATE TABLE sia.owner (owner_id int PRIMARY KEY, since date NOT NULL, category text NOT NULL, remark text);
CREATE TABLE sia.permit (
  permit_id serial PRIMARY KEY, owner_id int NOT NULL, kind text NOT NULL, status text NOT NULL DEFAULT 'asked',
  valid_until date, points int NOT NULL DEFAULT 0 CHECK (points >= 0), serial_no text UNIQUE, remark text);
CREATE TABLE sia.address (
  address_id int PRIMARY KEY, owner_id int NOT NULL, street text NOT NULL, town text NOT NULL, postcode text NOT NULL);
CREATE TABLE lapi.sighting (
  sighting_id int PRIMARY KEY, plate text COLLATE "C" NOT NULL, camera text NOT NULL, seen_at timestamptz NOT NULL,
  hash bytea);
CREATE TABLE ref.offence (code text PRIMARY KEY, label text NOT NULL, severity int NOT NULL);
CREATE TABLE ref.town (town_id int PRIMARY KEY, name text NOT NULL UNIQUE, postcode text NOT NULL, population int);
CREATE TABLE closed.agent (agent_id int PRIMARY KEY, name text NOT NULL, person_id int);
COMMENT ON COLUMN taj.person.phone IS 'CANARY comment on a hidden column';
COMMENT ON TABLE closed.agent IS 'CANARY comment on a closed table';
"""

# Rows of every type that programs move, for the differential run; see test_differential.py.
KINDS = """
CREATE TYPE ref.mood AS ENUM ('calm', 'tense');
CREATE TABLE ref.kinds (
  id int PRIMARY KEY, b bool, i2 smallint, i4 int, i8 bigint, n numeric, n2 numeric(12,3), f4 real, f8 double precision,
  t text, v varchar(20), c char(6), nm name, by bytea, d date, tm time, tz timetz, ts timestamp, tstz timestamptz,
  iv interval, u uuid, j json, jb jsonb, ia int[], ta text[], na numeric[], ir int4range, nr numrange, dr daterange,
  tr tstzrange, mr int4multirange, ip inet, cd cidr, mac macaddr, bt bit(5), vb varbit, pt point, bx box, mo money, x xml,
  tv tsvector, o oid, ch "char");
INSERT INTO ref.kinds VALUES
 (1, true, 1, 2, 3, 4.50, 5.125, 1.5, 2.25, 'text', 'varchar', 'char', 'name', '\\x00ff41', '2024-02-29', '12:34:56.789',
  '12:34:56+02', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789012+01', '1 year 2 mons 3 days 04:05:06.7',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": [1, 2]}', '{"b": {"c": null}}', '{1,NULL,3}', '{"a b",NULL,"q\\"t"}',
  '{1.10,2}', '[1,5)', '(0.5,1.5]', '[2024-01-01,2024-02-01)', '[2024-01-01 00:00+00,)', '{[1,3),[5,9)}', '10.1.2.3/8',
  '10.0.0.0/8', '08:00:2b:01:02:03', B'10101', B'1', '(1.5,-2)', '((1,1),(0,0))', '12.34', '<a>1</a>', 'a:1 b:2', 42, 'z'),
 (2, false, -32768, -2147483648, -9223372036854775808, 'NaN', -0.001, 'NaN', '-Infinity', '', '', '', '', '\\x',
  '0044-03-15 BC', '00:00', '23:59:59.999999-12', 'infinity', '-infinity', '-1 mons +2 days -00:00:01',
  '00000000-0000-0000-0000-000000000000', 'null', '[]', '{}', '{}', '{}', 'empty', '(,)', 'empty', 'empty', '{}', '::1',
  '::/0', '00:00:00:00:00:00', B'00000', B'', '(0,0)', '((0,0),(0,0))', '-0.01', NULL, '', 0, ''),
 (3, NULL, 32767, 2147483647, 9223372036854775807, 123456789012345678901234567890.123456789, 999999999.999, 3.4028235e38,
  5e-324, E'tab\\tnew\\nline \\\\ back Ünïcödé 日本語 🚣', 'x''y', 'ab    ', 'é', '\\xdeadbeef', '9999-12-31', '24:00:00',
  '00:00+14', '0001-01-01', '2038-01-19 03:14:08+00', '178000000 years', 'ffffffff-ffff-ffff-ffff-ffffffffffff',
  '  {"k" :  "v"}', '"s"', '{{1,2},{3,4}}', '{NULL}', '{NaN}', '[,10]', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, 4294967295, NULL);
INSERT INTO ref.kinds (id) VALUES (4);
CREATE VIEW ref.offence_by_severity AS SELECT severity, count(*) AS n FROM ref.offence GROUP BY severity;
CREATE TABLE ref.numbers AS SELECT i AS id, (i * 7919) % 1000 AS k, repeat('x', i % 50) AS filler FROM generate_series(1, 20000) i;
ALTER TABLE ref.numbers ADD PRIMARY KEY (id);
"""


class Register:
    """All rows of one twin, as dicts by table; `people` is a list of ids."""

    def __init__(self, twin="a", people=400, seed=7):
        visible = random.Random(seed)               # the same for both twins
        hidden = random.Random(f"{seed}/{twin}")     # different
        self.twin = twin
        self.tables = {name: [] for name in ("taj.person", "taj.case", "taj.involvement", "sia.owner", "sia.permit",
                                             "sia.address", "lapi.sighting", "closed.agent")}
        self.hidden_values = set()
        self._persons(people, visible, hidden)
        self._cases(visible, hidden)
        self._owners(visible, hidden)
        self._sightings(visible, hidden)
        for i in range(hidden.randint(20, 40)):
            self.tables["closed.agent"].append(dict(agent_id=i, name=f"CANARY agent {hidden.random()}",
                                                    person_id=hidden.choice(self.people)))

    def __getitem__(self, table):
        return self.tables[table]

    def _canary(self, what, hidden):
        return f"CANARY {what} {hidden.getrandbits(40):010x}"

    def _persons(self, count, visible, hidden):
        for i in range(count):
            letter = visible.choice(sorted(GIVEN))
            year = visible.randint(1940, 2005)
            birth = datetime.date(year, hidden.randint(1, 12), hidden.randint(4, 28))
            self.tables["taj.person"].append(dict(
                person_id=1001 + 3 * i,
                nir=f"{hidden.getrandbits(36):011d}{i:04d}",
                family_name=visible.choice(FAMILY), given_name=hidden.choice(GIVEN[letter]), birth_date=birth,
                birth_place=visible.choice(TOWNS)[1], sex=visible.choice("MF"),
                risk=10 * visible.randint(0, 9) + hidden.randint(0, 9),
                note=self._canary("note", hidden) if hidden.random() < 0.7 else None,
                phone=f"06CANARY{hidden.getrandbits(24):08d}" if hidden.random() < 0.6 else None,
                height=hidden.choice([0, 150, 160, 170, 180, None]),
                code=str(hidden.randint(1, 99)) if hidden.random() < 0.5 else self._canary("code", hidden),
                photo=self._canary("photo", hidden).encode(), tracker=self._canary("tracker", hidden)))
            self.hidden_values.add(birth.isoformat())
            self.hidden_values.add(self.tables["taj.person"][-1]["nir"])
        self.people = [p["person_id"] for p in self.tables["taj.person"]]

    def _cases(self, visible, hidden):
        number = 0
        for case_id in range(1, len(self.people) // 2):
            opened = datetime.date(visible.randint(2015, 2023), visible.randint(1, 12), hidden.randint(2, 28))
            self.tables["taj.case"].append(dict(case_id=case_id, opened=opened, offence_code=visible.choice(OFFENCES)[0],
                                                summary=self._canary("summary", hidden), lead=hidden.randint(0, 999)))
            shown = visible.sample(self.people, visible.choice([1, 1, 2, 2, 3, 5]))
            for person in shown:
                number += 1
                self.tables["taj.involvement"].append(dict(
                    involvement_id=number, person_id=person, case_id=case_id, role=visible.choice(ROLES),
                    outcome=visible.choice(OUTCOMES), recorded_at=self._moment(visible, hidden),
                    comment=self._canary("comment", hidden)))
            # Behind the row condition: other people, another number of them, in each twin.
            for k, person in enumerate(hidden.sample(self.people, hidden.choice([0, 1, 2]))):
                self.tables["taj.involvement"].append(dict(
                    involvement_id=1_000_000 + 10 * case_id + 3 * k + hidden.randint(0, 2), person_id=person, case_id=case_id,
                    role=hidden.choice(ROLES), outcome=HIDDEN_OUTCOME,
                    recorded_at=self._moment(hidden, hidden), comment=self._canary("comment", hidden)))

    def _moment(self, visible, hidden):
        return datetime.datetime(visible.randint(2015, 2023), visible.randint(1, 12), hidden.randint(3, 27),
                                 hidden.randint(0, 23), hidden.randint(0, 59), hidden.randint(0, 59), tzinfo=UTC)

    def _owners(self, visible, hidden):
        for i, person in enumerate(sorted(visible.sample(self.people, len(self.people) // 4))):
            self.tables["sia.owner"].append(dict(
                owner_id=person, since=datetime.date(visible.randint(2006, 2020), visible.randint(1, 12), visible.randint(1, 28)),
                category=visible.choice("BCD"), remark=self._canary("remark", hidden)))
            for k in range(visible.choice([0, 1, 1, 2])):
                self.tables["sia.permit"].append(dict(
                    permit_id=len(self.tables["sia.permit"]) + 1, owner_id=person, kind=visible.choice(["sport", "hunting"]),
                    status=visible.choice(["asked", "granted", "expired"]),
                    valid_until=datetime.date(visible.randint(2020, 2030), hidden.randint(1, 12), hidden.randint(2, 28)),
                    points=visible.randint(0, 12), serial_no=f"S{i:04d}{k}", remark=self._canary("remark", hidden)))
            town = visible.choice(TOWNS)
            self.tables["sia.address"].append(dict(address_id=i + 1, owner_id=person, town=town[1], postcode=town[2],
                                                   street=f"{hidden.randint(1, 99)} CANARY street {hidden.random()}"))

    def _sightings(self, visible, hidden):
        plates = [f"{a}{b}-{n:03d}-CA" for n, (a, b) in enumerate((x, y) for x in "ABCDEFGH" for y in "JKLMNP")]
        self.hidden_values.update(plates)  # whoever looks for leaks sees their pseudonyms
        for i in range(300):
            moment = datetime.datetime(visible.randint(2021, 2023), hidden.randint(1, 12), hidden.randint(2, 28),
                                       hidden.randint(0, 23), tzinfo=UTC)
            self.tables["lapi.sighting"].append(dict(sighting_id=i + 1, plate=visible.choice(plates),
                                                     camera=visible.choice(["north", "south", "east"]), seen_at=moment,
                                                     hash=self._canary("hash", hidden).encode()))

    def load(self, connection):
        """Creates the schemas and loads all rows."""
        with connection.cursor() as cursor:
            cursor.execute(SCHEMA)
            cursor.execute(KINDS)
            rows = dict(self.tables)
            rows["ref.offence"] = [dict(code=c, label=l, severity=s) for c, l, s in OFFENCES]
            rows["ref.town"] = [dict(town_id=i, name=n, postcode=p, population=q) for i, n, p, q in TOWNS]
            for table, content in rows.items():
                names = list(content[0])
                target = ".".join(f'"{part}"' for part in table.split("."))
                with cursor.copy(f"COPY {target} ({', '.join(names)}) FROM STDIN") as copy:
                    for row in content:
                        copy.write_row([row[n] for n in names])
            cursor.execute("SELECT setval('sia.permit_permit_id_seq', 100000)")
            cursor.execute("ANALYZE")
