// Writes movies.ndjson and genres.ndjson for mongoimport, from data/movies.json of the npm package vega-datasets 3.2.1: 3,201 real films
// whose values are kept as they are, numbers as titles included. A film's genres are its genre and its creative type.
//   node movies.mjs movies.json FOLDER
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [from, folder] = process.argv.slice(2);
const films = JSON.parse(readFileSync(from, 'utf8'));
const genres = new Set();
const lines = films.map((film, i) => {
  const out = { _id: { $oid: (i + 1).toString(16).padStart(24, '0') } };
  for (const [name, value] of Object.entries(film)) {
    if (name !== 'Major Genre' && name !== 'Creative Type') out[name.toLowerCase().replaceAll(' ', '_')] = value;
  }
  out.genres = [film['Major Genre'], film['Creative Type']].filter((g) => g !== null);
  out.genres.forEach((g) => genres.add(g));
  return JSON.stringify(out);
});
writeFileSync(join(folder, 'movies.ndjson'), lines.join('\n') + '\n');
writeFileSync(join(folder, 'genres.ndjson'), [...genres].sort().map((g) => JSON.stringify({ _id: g.toLowerCase().replaceAll(/[^a-z]+/g, '-'), name: g })).join('\n') + '\n');
