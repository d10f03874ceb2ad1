// What depends on the language: k6 has one.
import { row } from './row.js';

export default function () {
  const words = ['', ' ', '_', '-', 'a b', 'a_b', 'a-b', 'a.b', 'a$b', 'a1', 'a10', 'a2', 'ab', 'aB', 'Ab', 'abc', 'e', 'E', '\u00e9', 'e\u0301', '\u00e9a', 'ea', 'eb', 'f', 'z', 'Z', '\u03b1', '10', '2', '!', '~', '@', '#'];
  row('global.localeCompare', () => words.sort((one, other) => one.localeCompare(other)));
  row('global.localeCompare', () => [['a', 'b'], ['b', 'a'], ['a', 'a'], ['a', 'A'], ['A', 'a'], ['\u00e9', 'e\u0301'], ['10', '2'], ['x', undefined]].map(([one, other]) => one.localeCompare(other)));
  row('global.toLocaleString', () => [1234567.891, 0, 1e21, -1234.5, NaN, 0.1].map((number) => number.toLocaleString()));
  const times = [new Date(2024, 0, 5, 13, 4, 9, 7), new Date(2024, 11, 31, 0, 0, 0), new Date(NaN)];
  row('global.toLocaleString', () => times.map((time) => [time.toLocaleString(), time.toLocaleDateString(), time.toLocaleTimeString()]));
  row('global.toLocaleString', () => [times[0].toLocaleString('en-US', { hour12: true }), times[0].toLocaleTimeString('de-DE'), [1234.5, 2].toLocaleString(), typeof Intl]);
}
