// Users have nothing in common: not the state of modules, globals, cookies or timers.
// sorted
import http from 'k6/http';
import exec from 'k6/execution';
import { sleep, group } from 'k6';
import { row } from './row.js';

export const options = {
  scenarios: { apart: { executor: 'per-vu-iterations', vus: 6, iterations: 2, maxDuration: '20s' } },
};

let iterations = 0;
const numbers = [];
class Failure extends Error {}

export default function () {
  iterations += 1;
  numbers.push(__VU);
  __ENV.MINE = `${__ENV.MINE || ''}${__VU}`;
  const before = __VU;
  http.get(`${__ENV.URL}/cookies/set?name=own&value=of-${__VU}`);
  const form = http.get(`${__ENV.URL}/page`).submitForm({ formSelector: 'form' });
  setTimeout(() => row('timers.setTimeout', () => [before, __VU, iterations, numbers]), 10);
  sleep(0.02 * (7 - __VU));
  group(`group ${__VU}`, () => {
    row('life.__VU life.__ITER life.__ENV', () => [before, __VU, __ITER, __ENV.MINE, iterations, exec.vu.idInTest, new Failure('x') instanceof Failure]);
    row('k6.group', () => [before, exec.vu.tags.group]);
    row('http.cookieJar', () => [before, form.json('headers.cookie'), http.cookieJar().cookiesForURL(__ENV.URL).own]);
  });
}
