// Options of requests, set by the script.
// json
import http from 'k6/http';
import exec from 'k6/execution';
import { row, thrown } from './row.js';

const url = __ENV.URL;
const port = url.split(':')[2];

export const options = {
  vus: 1,
  iterations: 3,
  batch: 2,
  batchPerHost: 1,
  blacklistIPs: ['10.0.0.0/8', '192.0.2.1/32'],
  blockHostnames: ['*.blocked.test', 'exact.test'],
  discardResponseBodies: true,
  dns: { ttl: '1m', select: 'first', policy: 'preferIPv4' },
  hosts: { 'named.test': '127.0.0.1', 'ported.test': `127.0.0.1:${port}`, '*.wild.test': '127.0.0.1', [`both.test:${port}`]: `127.0.0.1:${port}` },
  maxRedirects: 1,
  noConnectionReuse: true,
  noCookiesReset: true,
  rps: 500,
  systemTags: ['status', 'method', 'group', 'check', 'scenario', 'error_code'],
  tags: { of: 'the test' },
  throw: true,
  userAgent: 'an agent of its own',
  minIterationDuration: '100ms',
};

const loaded = Date.now();

export default function () {
  row('option.discardResponseBodies', () => [http.get(url).body, http.get(`${url}/redirect/0`, { responseType: 'text' }).body]);
  const text = { responseType: 'text' };
  row('option.userAgent', () => http.get(url, text).request.headers['User-Agent']);
  row('option.maxRedirects', () => { const answer = http.get(`${url}/redirect/3`); return [answer.status, answer.url.replace(url, '')]; });
  row('option.noConnectionReuse', () => new Set([1, 2, 3].map(() => http.get(`${url}/connection`, text).body)).size);
  row('option.hosts', () => ['named.test', 'both.test', 'a.wild.test'].map((name) => http.get(`http://${name}:${port}/`, { tags: { name: 'hosts' } }).status).concat(http.get('http://ported.test/', { tags: { name: 'hosts' } }).status));
  row('option.blockHostnames', () => ['http://a.blocked.test/', 'http://exact.test/'].map((target) => [thrown(() => http.get(target)), http.get(target, { throw: false }).error_code]));
  row('option.blacklistIPs', () => ['http://10.1.2.3/', 'http://192.0.2.1/'].map((target) => [thrown(() => http.get(target)), http.get(target, { throw: false }).error_code]));
  row('option.throw', () => [thrown(() => http.get('http://127.0.0.1:1/')), thrown(() => http.get(url, { timeout: 'soon' })), thrown(() => http.get('http://[::bad'))]);
  row('option.batch option.batchPerHost', () => { const start = Date.now(); http.batch([1, 2, 3].map(() => ['GET', `${url}/delay/30`])); return Date.now() - start >= 89; });
  row('option.noCookiesReset', () => { const before = http.cookieJar().cookiesForURL(url); http.cookieJar().set(url, `of${__ITER}`, 'x'); return before; });
  row('option.minIterationDuration', () => [exec.test.options.minIterationDuration, Date.now() - loaded >= __ITER * 100]);
  row('option.dns option.rps option.tags option.systemTags', () => [exec.test.options.dns, exec.test.options.rps, Object.keys(exec.vu.tags).sort()]);
}
