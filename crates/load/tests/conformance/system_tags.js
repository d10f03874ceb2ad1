// Tags of the system that are not given unless they are asked for: those of another value in every
// iteration are metadata, as is what a script sets, and an address is a tag.
// json
// csv
// rows: output.json output.csv
import http from 'k6/http';
import ws from 'k6/ws';
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';
import { check, group } from 'k6';
import { row, thrown } from './row.js';

const mine = new Counter('mine');

export const options = {
  systemTags: ['vu', 'iter', 'ip', 'method', 'status', 'check', 'group', 'scenario'],
  tags: { all: 'of the test' },
  // No threshold sees metadata, of which both warn.
  thresholds: { 'mine{vu:1}': ['count==0'], 'mine{own:c}': ['count==6'] },
  scenarios: { main: { executor: 'per-vu-iterations', vus: 1, iterations: 2 } },
};

export function setup() {
  exec.vu.metrics.metadata.stage = 'setup';
  http.get(`${__ENV.URL}/in/setup`);
  mine.add(1);
}

export default function () {
  const { metadata } = exec.vu.metrics;
  metadata.trace = `t${__ITER}`;
  http.get(`${__ENV.URL}/echo`, { tags: { own: 'b' } });
  check(1, { fine: true });
  group('in a group', () => mine.add(2));
  if (__ITER === 0) metadata.stays = 5;
  row('exec.vu.metrics.metadata', () => [Object.entries(metadata).sort(), metadata.nothing, 'trace' in metadata, 'nothing' in metadata]);
  row('exec.vu.metrics.metadata', () => [5, true, null, undefined, {}, ['a'], 'text', NaN].map((value) => thrown(() => { metadata.set = value; })));
  row('exec.vu.metrics.tags', () => thrown(() => { exec.vu.metrics.tags.set = {}; }));
  delete metadata.trace;
  delete metadata.set;
  mine.add(3, { iter: 'a tag', own: 'c' });
  row('option.systemTags', () => ws.connect(`${__ENV.URL.replace('http', 'ws')}/ws`, null, (socket) => socket.on('open', () => socket.close())).status);
}

export function teardown() {
  mine.add(4);
}
