// Prints what the node driver makes of each statement read from standard input (a JSON list), one JSON line each.
const { Client, types } = require('pg');
const fs = require('fs');

async function main() {
  const statements = JSON.parse(fs.readFileSync(0, 'utf8'));
  const client = new Client({ connectionString: process.argv[2] });
  await client.connect();
  for (const [text, values] of statements) {
    try {
      const r = await client.query({ text, values: values || undefined, rowMode: 'array' });
      console.log(JSON.stringify({ command: r.command, count: r.rowCount, fields: r.fields.map((f) => [f.name, f.dataTypeID, f.format]), rows: r.rows }));
    } catch (e) {
      console.log(JSON.stringify({ error: e.code, message: e.message }));
    }
  }
  const named = { name: 'named', text: 'SELECT name FROM ref.town WHERE town_id = $1' };
  for (const id of [1, 2, 99]) console.log(JSON.stringify((await client.query({ ...named, values: [id] })).rows));
  await client.end();
}

main().catch((e) => { console.error(e); process.exit(1); });
