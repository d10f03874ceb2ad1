// An iteration that is cut short: what it did before counts, what its catch and finally do does not.
// k6 may or may not come as far as the catch of a request, so that writes no line.
import http from 'k6/http';
import exec from 'k6/execution';
import { check, group, sleep } from 'k6';
import { Counter } from 'k6/metrics';
import { WebSocket } from 'k6/experimental/websockets';
import { row } from './row.js';

const begun = new Counter('begun');
const errors = new Counter('errors');

const cut = (name) => ({ executor: 'constant-vus', vus: 1, duration: '2s', gracefulStop: '100ms', exec: name });

export const options = {
  thresholds: { errors: ['count==0'] },
  scenarios: { caught: cut('caught'), ending: cut('ending'), failing: cut('failing'), retried: cut('retried'), grouped: cut('grouped'), open: cut('open') },
};

export function setup() {
  row('scenario.gracefulStop', () => Object.keys(exec.test.options.scenarios).length);
}

export function caught() {
  begun.add(1);
  try {
    http.get(`${__ENV.URL}/delay/6000`, { throw: true });
  } catch (error) {
    errors.add(1);
    check(1, { 'in catch': () => false });
  }
}

export function ending() {
  begun.add(1);
  try {
    sleep(6);
  } catch (error) {
    exec.test.abort(error.message);
  }
}

export function failing() {
  begun.add(1);
  try {
    sleep(6);
  } catch (error) {
    exec.test.fail(error.message);
  }
}

export function retried() {
  begun.add(1);
  for (;;) {
    try {
      sleep(6);
    } catch {
      errors.add(1);
    }
  }
}

export function grouped() {
  begun.add(1);
  group('cut', () => {
    try {
      sleep(6);
    } finally {
      errors.add(1);
      check(1, { 'in finally': () => false });
    }
  });
}

/** A socket that is still open has no length. Whether k6 runs its `close` is a matter of luck. */
export function open() {
  begun.add(1);
  const socket = new WebSocket(`${__ENV.URL.replace('http', 'ws')}/ws`);
  socket.onopen = () => socket.send('hello');
}
